"""OpenAI's official Python client against a running system: BASE_URL says where. Prints what it has seen; fails by assertion."""

import os

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="unused")
question = [{"role": "user", "content": "count 20 every 10"}]
answer = "".join(f"{i} " for i in range(20))

whole = client.chat.completions.create(model="nano", messages=question)
assert whole.choices[0].message.content == answer, whole
assert whole.usage.total_tokens > 0

text = ""
usage = None
with client.chat.completions.create(
    model="nano", messages=question, stream=True, stream_options={"include_usage": True}
) as stream:
    for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
assert text == answer and usage.total_tokens == whole.usage.total_tokens

# Long enough for heartbeats in between, at which careless servers make this client stumble.
quiet = client.responses.create(
    model="nano", input="count 2 every 16000", background=True, stream=True
)
numbers = []
for event in quiet:
    numbers.append(event.sequence_number)
    if event.type == "response.created":
        identity = event.response.id
assert numbers == list(range(len(numbers))), numbers

rest = client.responses.retrieve(identity, stream=True, starting_after=5)
assert [event.sequence_number for event in rest] == numbers[6:]
assert client.responses.retrieve(identity).output_text == "0 1 "

with client.responses.stream(model="nano", input="count 3 every 10") as stream:
    assert stream.get_final_response().output_text == "0 1 2 "

running = client.responses.create(model="nano", input="count 900 every 20", background=True)
assert client.responses.cancel(running.id).status == "cancelled"

try:
    client.chat.completions.create(model="none", messages=question)
    raise AssertionError("a model that is not there was found")
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and error.request_id, error

keys = {"Idempotency-Key": "python-1"}
ids = {
    client.chat.completions.create(model="nano", messages=question, extra_headers=keys).id
    for _ in range(3)
}
assert len(ids) == 1, ids

assert [model.id for model in client.models.list()] == ["nano"]
print(f"openai {openai.__version__}: all as expected")
