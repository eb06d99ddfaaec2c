"""Draws held-out pictures with one question each: DIR/cases.jsonl and the pictures. Any seed gives a fresh set.

Training draws from other seeds and only at sides that are multiples of 28; a third of these have any side.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import questions


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, default=Path("models/nano/heldout"))
    ap.add_argument("--per-kind", type=int, default=60)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for kind in questions.KINDS:
        for i in range(a.per_kind):
            rng = random.Random(f"held out/{a.seed}/{kind}/{i}")
            low = 84 if kind in ("where", "describe") else 56
            w, h = (rng.randint(low, 336) if i % 3 == 0 else rng.randint(low // 28, 12) * 28 for _ in range(2))
            scene, question, answer = questions.case(rng, kind, w, h)
            # A noisy picture as a PNG would be a hundred times larger, and people send JPEGs.
            noisy = len(scene.image.getcolors(1 << 24) or []) > 2000
            name = f"{kind}-{i:03d}.{'jpg' if noisy else 'png'}"
            scene.image.save(a.out / name, **({"quality": 92} if noisy else {"optimize": True}))
            lines.append({"kind": kind, "image": name, "question": question, "answer": answer})
    (a.out / "cases.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    print(f"{len(lines)} cases, seed {a.seed}, in {a.out}")


if __name__ == "__main__":
    main()
