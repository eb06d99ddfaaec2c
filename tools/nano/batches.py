"""Training batches: pictures of one grid, conversations about them, and what covers every patch. Seeded by index."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

import questions
from draw import COLOURS, SHAPES, Scene

CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHARES = {"number": 0.66, "word": 0.34}, {"shape": 0.1, "colour": 0.1, "count": 0.25, "where": 0.35, "describe": 0.2}
GRIDS = [(h, w) for h in range(2, 13) for w in range(2, 13)]
GRID_WEIGHTS = [(h * w) ** -0.6 * (0.4 if max(h, w) > 3 * min(h, w) else 1.0) for h, w in GRIDS]
FAVOURED = [(4, 4), (6, 6), (8, 8), (8, 8), (8, 8), (10, 10), (12, 12), (6, 8), (8, 6)]


@dataclass
class Batch:
    images: np.ndarray  # uint8 [B, H, W, 3]
    cells: np.ndarray  # int64 [B, patches, 3]: shape, colour, character of each patch in the processor's order; 0 is none
    zones: np.ndarray  # int64 [tokens]: the cell of the 3x3 raster that holds each merged token's centre
    centres: np.ndarray  # int64 [B, tokens]: how many shapes have their centre in each merged token, 2 at most
    ids: np.ndarray  # int64 [B, L], right-padded
    positions: np.ndarray  # int64 [3, B, L]
    targets: np.ndarray  # int64 [B, L]: the next token where it is an answer's, else -100
    weights: np.ndarray  # float32 [B, L]: a long answer weighs little more than a short one


def cells(scene: Scene, gh: int, gw: int) -> np.ndarray:
    out = np.zeros((gh, gw, 3), np.int64)
    for t in scene.things:
        if scene.text:
            a, top, b, bottom = t.box
            code = CHARS.index(t.name) + 1
            for i in range(max(0, int((top + 3) // 14)), min(gh - 1, int((bottom - 3) // 14)) + 1):
                for j in range(max(0, int((a + 7) // 14)), min(gw - 1, int((b - 7) // 14)) + 1):
                    out[i, j, 2] = code
            out[min(gh - 1, int(t.y // 14)), min(gw - 1, int(t.x // 14)), 2] = code
        else:
            for i in range(gh):
                for j in range(gw):
                    if (j * 14 + 7 - t.x) ** 2 + (i * 14 + 7 - t.y) ** 2 < max(t.r * 0.85, 9) ** 2:
                        out[i, j, :2] = SHAPES.index(t.name) + 1, list(COLOURS).index(t.colour) + 1
    return out.reshape(gh // 2, 2, gw // 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 3)


def centres(scene: Scene, th: int, tw: int) -> np.ndarray:
    out = np.zeros((th, tw), np.int64)
    for t in scene.things:
        out[min(th - 1, int(t.y // 28)), min(tw - 1, int(t.x // 28))] += 1
    return out.clip(0, 2).ravel()


def conversation(rng: random.Random, scene: Scene, kind: str) -> list[tuple[str, bool]] | None:
    """Pieces of text after the picture, each with whether the model must learn to say it."""
    thinking = rng.random() < 0.12
    # Only a zoned scene can be asked for places, so it always is.
    others = ["where", "describe"] if scene.zoned else ["shape", "colour", "count"]
    kinds = [kind] if scene.text else [kind] + rng.sample(others, 2 if not thinking else rng.randint(0, 1))
    rng.shuffle(kinds)
    turns = [(k, qa) for k in kinds if (qa := questions.ask(rng, scene, k))]
    if not turns:
        return None
    out: list[tuple[str, bool]] = []
    for n, (k, (q, a)) in enumerate(turns):
        last = n == len(turns) - 1
        if not thinking:
            out += [(q + "/nothink<|assistant|>\n<think></think>\n", False), (a + "<|user|>", True)]
        elif last:
            boxed = a if k == "describe" else f"<|begin_of_box|>{a}<|end_of_box|>"
            out += [(q + "<|assistant|>\n", False), (f"<think>{questions.reasoning(scene)}</think>\n{boxed}<|user|>", True)]
        else:
            out += [(q + "<|assistant|>\n<think></think>\n" + a + "<|user|>", False)]
        if not last:
            out.append(("\n", False))
    return out


def make(tok: Tokenizer, seed: int, index: int, group: int, budget: int) -> Batch:
    """Batch `index` of text pictures (group 0) or shapes (group 1), about `budget` picture tokens in all."""
    rng = random.Random(f"{seed}/{group}/{index}")
    gh, gw = rng.choice(FAVOURED) if rng.random() < 0.35 else rng.choices(GRIDS, GRID_WEIGHTS)[0]
    h, w, n = gh * 28, gw * 28, max(4, min(budget // 30, budget // (gh * gw)))
    shares = {k: s for k, s in SHARES[group].items() if questions.fits(k, w, h)}
    rows: list[tuple[Scene, list[int], list[int]]] = []  # scene, ids, length of the answer that each id belongs to or 0
    begin = tok.encode("[gMASK]<sop><|user|>\n<|begin_of_image|>").ids
    image, end = tok.encode("<|image|>").ids * (gh * gw), tok.encode("<|end_of_image|>").ids
    while len(rows) < n:
        kind = rng.choices(list(shares), list(shares.values()))[0]
        scene = questions.scene_for(rng, kind, w, h)
        pieces = conversation(rng, scene, kind)
        if pieces is None:
            continue
        ids, learn = begin + image + end, [0] * (len(begin) + len(image) + len(end))
        for text, wanted in pieces:
            more = tok.encode(text).ids
            ids, learn = ids + more, learn + [len(more) * wanted] * len(more)
        rows.append((scene, ids, learn))
    length = max(len(ids) for _, ids, _ in rows)
    padded = np.zeros((n, length), np.int64)
    targets = np.full((n, length), -100, np.int64)
    weights = np.zeros((n, length), np.float32)
    for r, (_, ids, learn) in enumerate(rows):
        padded[r, : len(ids)] = ids
        for i in range(len(ids) - 1):
            if learn[i + 1]:
                targets[r, i] = ids[i + 1]
                weights[r, i] = learn[i + 1] ** -0.7
    positions = np.empty((3, n, length), np.int64)
    start, size = len(begin), gh * gw
    positions[:, :, :start] = np.arange(start)
    grid = np.indices((gh, gw)).reshape(2, -1)
    positions[0, :, start : start + size] = start
    positions[1:, :, start : start + size] = (grid + start)[:, None]
    positions[:, :, start + size :] = np.arange(length - start - size) + start + max(gh, gw)
    return Batch(
        np.stack([np.asarray(s.image) for s, _, _ in rows]),
        np.stack([cells(s, gh * 2, gw * 2) for s, _, _ in rows]),
        (((grid + 0.5) * 3 / np.array([[gh], [gw]])).astype(np.int64) * np.array([[3], [1]])).sum(0),
        np.stack([centres(s, gh, gw) for s, _, _ in rows]),
        padded,
        positions,
        targets,
        weights,
    )
