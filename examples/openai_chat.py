"""The same with OpenAI's official Python client (pip install openai): only its base URL is another.

    python examples/openai_chat.py [PICTURE] [QUESTION]
"""

import base64
import os
import sys

import openai

picture = sys.argv[1] if len(sys.argv) > 1 else "apps/api/public/samples/shapes.png"
question = sys.argv[2] if len(sys.argv) > 2 else "Describe the picture."
client = openai.OpenAI(
    base_url=os.environ.get("BASE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("GLIMPSE_KEY", "unused"),
)
with open(picture, "rb") as file:
    url = "data:image/png;base64," + base64.b64encode(file.read()).decode()
content = [
    {"type": "image_url", "image_url": {"url": url}},
    {"type": "text", "text": question},
]
answer = client.chat.completions.create(
    model="nano", messages=[{"role": "user", "content": content}]
)
print(answer.choices[0].message.content)
