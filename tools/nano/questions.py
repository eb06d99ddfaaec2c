"""Questions about a scene and their one right answer, kind by kind. Knows scenes, not pixels and not tokens."""

from __future__ import annotations

import random

from draw import COLOURS, SHAPES, WORDS, Scene, Thing, shapes_scene, text_scene

KINDS = ["shape", "colour", "count", "where", "describe", "number", "word"]
ZONES = ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"]


def zone(t: Thing, w: int, h: int) -> str:
    """The cell of the 3x3 raster that holds the thing's centre."""
    return ZONES[min(2, int(t.y * 3 / h)) * 3 + min(2, int(t.x * 3 / w))]


def article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def unique(scene: Scene, **want: str) -> bool:
    return sum(all(getattr(t, k) == v for k, v in want.items()) for t in scene.things) == 1


def ask_shape(rng: random.Random, s: Scene) -> tuple[str, str] | None:
    t = rng.choice(s.things)
    if len(s.things) == 1:
        return rng.choice(["What shape is this?", "Which shape is shown?", "What is in the picture?"]), t.name
    if not unique(s, colour=t.colour):
        return None
    return rng.choice([f"What shape is the {t.colour} object?", f"Which shape is {t.colour}?"]), t.name


def ask_colour(rng: random.Random, s: Scene) -> tuple[str, str] | None:
    t = rng.choice(s.things)
    if not unique(s, name=t.name):
        return None
    word = rng.choice(["colour", "color"])
    if len(s.things) == 1 and rng.random() < 0.4:
        return f"What {word} is it?", t.colour
    return rng.choice([f"What {word} is the {t.name}?", f"Which {word} does the {t.name} have?"]), t.colour


def ask_count(rng: random.Random, s: Scene) -> tuple[str, str]:
    """All of them: counting only some ("How many red shapes ...") was beyond a model of this size."""
    return rng.choice(["How many shapes are there?", "How many objects are in the picture?"]), str(len(s.things))


def ask_where(rng: random.Random, s: Scene) -> tuple[str, str] | None:
    t = rng.choice(s.things)
    if not s.zoned or not unique(s, name=t.name, colour=t.colour):
        return None
    what = f"the {t.colour} {t.name}"
    if unique(s, name=t.name) and rng.random() < 0.4:
        what = f"the {t.name}"
    return f"Where is {what}?", zone(t, *s.image.size)


def ask_describe(rng: random.Random, s: Scene) -> tuple[str, str] | None:
    if not s.zoned or len(s.things) > 3:
        return None
    w, h = s.image.size
    parts = [
        f"{article(t.colour)} {t.colour} {t.name} at the {zone(t, w, h)}"
        for t in sorted(s.things, key=lambda t: ZONES.index(zone(t, w, h)))
    ]
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    question = rng.choice(["Describe the picture.", "Describe this image.", "What do you see?"])
    return question, text[0].upper() + text[1:] + "."


def ask_text(rng: random.Random, s: Scene) -> tuple[str, str]:
    if s.text.isdigit():
        return rng.choice(["What number is shown?", "Read the number.", "What does it say?", "Which number is this?"]), s.text
    return rng.choice(["What word is shown?", "Read the word.", "What does it say?", "Which word is this?"]), s.text


ASK = {"shape": ask_shape, "colour": ask_colour, "count": ask_count, "where": ask_where, "describe": ask_describe}


def reasoning(s: Scene) -> str:
    """What the model says to itself when thinking is on: the evidence for any answer about the scene."""
    if s.text:
        return "The picture shows printed text: " + " ".join(s.text) + "."
    w, h = s.image.size
    seen = ", ".join(f"{t.colour} {t.name}" for t in sorted(s.things, key=lambda t: (t.y / h * 3 // 1, t.x)))
    return f"I see {len(s.things)}: {seen}."


def fits(kind: str, w: int, h: int) -> bool:
    """Whether the kind can be asked at this size: places need room for a 3x3 raster."""
    return min(w, h) >= (84 if kind in ("where", "describe") else 56)


def scene_for(rng: random.Random, kind: str, w: int, h: int) -> Scene:
    """A scene of w x h pixels on which `kind` can be asked."""
    while True:
        if kind in ("number", "word"):
            most = max(1, min(4, (w - 6) // 13))
            text = rng.choice([x for x in WORDS if len(x) <= max(most, 2)])
            if kind == "number":
                n = rng.choices(range(1, most + 1), [1.0, 1.5, 1.5, 1.5][:most])[0]
                text = "".join(rng.choice("0123456789") for _ in range(n))
            s = text_scene(rng, w, h, text)
            if s:
                return s
            continue
        if kind == "where":
            return shapes_scene(rng, w, h, rng.choices([1, 2], [1, 2])[0], True)
        if kind == "describe":
            return shapes_scene(rng, w, h, rng.choices([1, 2, 3], [2, 3, 3])[0], True)
        most = max(1, min(6, w * h // 1600))
        weights = [3, 3, 3, 2, 2, 2] if kind == "count" else [4, 3, 2, 1, 0, 0]
        n = rng.choices(range(1, 7)[:most], weights[:most])[0]
        return shapes_scene(rng, w, h, n, False)


def ask(rng: random.Random, s: Scene, kind: str) -> tuple[str, str] | None:
    return ask_text(rng, s) if s.text else ASK[kind](rng, s)


def case(rng: random.Random, kind: str, w: int, h: int) -> tuple[Scene, str, str]:
    """One picture with one question of the kind and its answer."""
    while True:
        s = scene_for(rng, kind, w, h)
        qa = ask(rng, s, kind)
        if qa:
            return s, *qa
