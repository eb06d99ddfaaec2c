"""Draws the sample pictures of the web page and of `npm start`, with a question each model must get right."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import draw
import questions

OUT = Path("apps/api/public/samples")
# name, kind, size, seed, question to ask (None: the one that was drawn)
SAMPLES = [
    ("shapes", "describe", (280, 280), 250, "Describe the picture."),
    ("where", "where", (280, 224), 355, None),
    ("count", "count", (280, 280), 71, "How many shapes are there?"),
    ("number", "number", (280, 168), 4, "What number is shown?"),
    ("word", "word", (280, 168), 9, "What does it say?"),
]


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, kind, (w, h), seed, wanted in SAMPLES:
        rng = random.Random(f"sample/{seed}")
        while True:
            if kind == "number":
                scene = draw.text_scene(rng, w, h, "407", plain=True)
            elif kind == "word":
                scene = draw.text_scene(rng, w, h, "OPEN", plain=True)
            else:
                scene = draw.shapes_scene(rng, w, h, {"describe": 3, "where": 2, "count": 5}[kind], kind != "count", plain=True)
            qa = scene and questions.ask(rng, scene, kind)
            if qa and (wanted is None or qa[0] == wanted):
                break
        scene.image.save(OUT / f"{name}.png", optimize=True)
        rows.append({"file": f"{name}.png", "question": qa[0], "answer": qa[1]})
    (OUT / "samples.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(json.dumps(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
