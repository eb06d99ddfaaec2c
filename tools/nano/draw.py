"""Pictures that models/nano is trained and tested on: coloured shapes, printed numbers and short words.

Knows drawing only: no questions, no tokens. Every picture comes from the `random.Random` it is given.
"""

from __future__ import annotations

import glob
import math
import random
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = {
    "red": (220, 30, 35),
    "orange": (250, 135, 20),
    "yellow": (245, 220, 40),
    "green": (35, 155, 60),
    "blue": (35, 80, 215),
    "purple": (125, 45, 165),
    "pink": (250, 135, 185),
    "black": (18, 18, 20),
}
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond", "ring"]
BACKGROUNDS = [(255, 255, 255)] * 4 + [(225, 225, 225), (245, 238, 220), (215, 232, 245), (150, 150, 150)]
WORDS = (
    "CAT DOG SUN CUP BUS CAR MAP PEN BOX HAT KEY FOX OWL BEE ANT JAM TEA ICE SKY SEA STOP EXIT OPEN TAXI FIRE "
    "FISH BIRD MILK BOOK DOOR ROAD PARK SHOP SALE FREE HELP PUSH PULL COLD HOT ON OFF UP DOWN YES NO IN OUT"
).split()
FONTS = sorted(
    p
    for p in glob.glob("/usr/share/fonts/truetype/dejavu/*.ttf") + glob.glob("/usr/share/fonts/truetype/liberation/*.ttf")
    if not any(w in p for w in ("Italic", "Oblique", "Narrow", "ExtraLight", "Math"))
) + [""]  # Pillow's own


@dataclass
class Thing:
    """A shape (`name`, `colour`) with its centre and radius in pixels, or a character with its box."""

    name: str
    colour: str
    x: float
    y: float
    r: float
    box: tuple[float, float, float, float] = (0, 0, 0, 0)


@dataclass
class Scene:
    """A picture and what is in it. `zoned`: every centre is well inside its cell of the 3x3 raster."""

    image: Image.Image
    things: list[Thing] = field(default_factory=list)
    text: str = ""
    zoned: bool = False


def jitter(rng: random.Random, rgb: tuple[int, int, int], by: int) -> tuple[int, int, int]:
    return tuple(max(0, min(255, c + rng.randint(-by, by))) for c in rgb)


def outline(shape: str, x: float, y: float, r: float, turn: float) -> list[tuple[float, float]]:
    """The polygon of a shape of radius r, turned by `turn` radians."""
    if shape == "square":
        at = [(math.pi / 4 + k * math.pi / 2, 1.0) for k in range(4)]
    elif shape == "diamond":
        at = [(k * math.pi / 2, 1.0 if k % 2 else 0.72) for k in range(4)]
    elif shape == "triangle":
        at = [(-math.pi / 2 + k * 2 * math.pi / 3, 1.0) for k in range(3)]
    elif shape == "star":
        at = [(-math.pi / 2 + k * math.pi / 5, 0.42 if k % 2 else 1.0) for k in range(10)]
    else:  # cross
        w = 0.3
        corners = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
        at = [(math.atan2(b, a), math.hypot(a, b) * 0.95) for a, b in corners]
    return [(x + r * s * math.cos(a + turn), y + r * s * math.sin(a + turn)) for a, s in at]


def draw_shape(d: ImageDraw.ImageDraw, t: Thing, rgb, bg, scale: int, turn: float) -> None:
    x, y, r = t.x * scale, t.y * scale, t.r * scale
    if t.name in ("circle", "ring"):
        d.ellipse((x - r, y - r, x + r, y + r), fill=rgb)
        if t.name == "ring":
            q = r * 0.58
            d.ellipse((x - q, y - q, x + q, y + q), fill=bg)
    else:
        d.polygon(outline(t.name, x, y, r, turn), fill=rgb)


def place(rng: random.Random, w: int, h: int, n: int, zoned: bool) -> list[tuple[float, float, float]] | None:
    """n centres and radii that neither touch nor leave the picture, or None when they do not fit."""
    short = min(w, h)
    biggest = min(short * 0.46, math.sqrt(w * h / n) * 0.38, 70)
    if biggest < 9:
        return None
    base = rng.uniform(max(9, biggest * 0.45), biggest)
    zones = rng.sample(range(9), n) if zoned else []
    spots: list[tuple[float, float, float]] = []
    for k in range(n):
        for _ in range(60):
            r = max(9, base * rng.uniform(0.8, 1.1))
            if zoned:
                x = w / 3 * (zones[k] % 3 + 0.5 + rng.uniform(-0.3, 0.3))
                y = h / 3 * (zones[k] // 3 + 0.5 + rng.uniform(-0.3, 0.3))
                r = min(r, x - 1, w - x - 1, y - 1, h - y - 1)
                if r < 8:
                    continue
            else:
                if 2 * r + 2 > short:
                    r = short / 2 - 1
                x, y = rng.uniform(r + 1, w - r - 1), rng.uniform(r + 1, h - r - 1)
            if all(math.hypot(x - a, y - b) > (r + c) * 1.08 + 2 for a, b, c in spots):
                spots.append((x, y, r))
                break
            base *= 0.98
        else:
            return None
    return spots


def soften(rng: random.Random, image: Image.Image) -> Image.Image:
    """What cameras and encoders do, a little of it, to some pictures."""
    if rng.random() < 0.25:
        a = np.asarray(image, np.int16)
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 6), a.shape)
        image = Image.fromarray(np.clip(a + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.25:
        w, h = image.size
        f = rng.uniform(0.85, 1.3)
        image = image.resize((max(8, int(w * f)), max(8, int(h * f))), Image.BICUBIC).resize((w, h), Image.BICUBIC)
    return image


def shapes_scene(rng: random.Random, w: int, h: int, n: int, zoned: bool, plain: bool = False) -> Scene:
    """n shapes. `plain`: one background, no noise (for samples that people look at)."""
    spots = None
    while spots is None:
        spots = place(rng, w, h, n, zoned)
        n = n if spots is not None else max(1, n - 1)
    bg = jitter(rng, rng.choice(BACKGROUNDS), 6) if not plain else (255, 255, 255)
    scale = rng.choice((1, 2)) if not plain else 4
    image = Image.new("RGB", (w * scale, h * scale), bg)
    d = ImageDraw.Draw(image)
    few = rng.random() < 0.4  # counts by shape or colour are only interesting when some repeat
    names, colours = (rng.sample(SHAPES, 2), rng.sample(list(COLOURS), 2)) if few else (SHAPES, list(COLOURS))
    things = []
    for x, y, r in spots:
        t = Thing(rng.choice(names), rng.choice(colours), x, y, r)
        draw_shape(d, t, jitter(rng, COLOURS[t.colour], 12 if not plain else 0), bg, scale, rng.uniform(-0.14, 0.14))
        things.append(t)
    image = image if scale == 1 else image.resize((w, h), Image.BOX)
    return Scene(image if plain else soften(rng, image), things, zoned=zoned)


def font_of(path: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


def text_scene(rng: random.Random, w: int, h: int, text: str, plain: bool = False) -> Scene | None:
    """`text` in one line in a random font, or None when the picture is too narrow for it."""
    path = rng.choice(FONTS)
    probe = font_of(path, 100)
    width, tall = probe.getlength(text) / 100, 0.75
    biggest = min((w - 4) / width, (h - 4) / tall, 90)
    if biggest < 19:
        return None
    size = rng.uniform(max(19, biggest * 0.4), biggest)
    font = font_of(path, size)
    dark = rng.random() < 0.2
    bg = jitter(rng, (25, 28, 45) if dark else rng.choice(BACKGROUNDS[:-1]), 8)
    ink = (245, 245, 240) if dark else COLOURS[rng.choice(["black", "black", "blue", "red", "purple", "green"])]
    image = Image.new("RGB", (w, h), bg)
    left, top, right, bottom = font.getbbox(text)
    x = rng.uniform(2, max(2.01, w - 2 - (right - left))) - left
    y = rng.uniform(2, max(2.01, h - 2 - (bottom - top))) - top
    ImageDraw.Draw(image).text((x, y), text, font=font, fill=jitter(rng, ink, 10))
    chars = []
    for k, ch in enumerate(text):
        a, b = x + font.getlength(text[:k]), x + font.getlength(text[: k + 1])
        chars.append(Thing(ch, "", (a + b) / 2, (y + top + y + bottom) / 2, 0, (a, y + top, b, y + bottom)))
    return Scene(image if plain else soften(rng, image), chars, text=text)
