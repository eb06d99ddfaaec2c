"""Trains models/nano on two cores (see README.md beside this file for the command and how long it takes).

First the vision tower alone learns what covers each patch, through a head that is thrown away; then the whole model
learns to answer, several turns a picture. The same seed and step counts give the same batches.
"""

from __future__ import annotations

import argparse
import collections
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import batches
import model as nano
import tokenizer as nano_tokenizer
from draw import COLOURS, SHAPES

KINDS = (len(SHAPES) + 1, len(COLOURS) + 1, len(batches.CHARS) + 1)
_tok: Tokenizer


def worker_start(path: str) -> None:
    global _tok
    os.nice(5)
    _tok = Tokenizer.from_file(path)


def worker_make(*args: int) -> batches.Batch:
    return batches.make(_tok, *args)


class Feed:
    """Batches in order, drawn ahead in another process."""

    def __init__(self, tokenizer_file: str, seed: int, start: int, budget: int) -> None:
        self.pool = ProcessPoolExecutor(1, initializer=worker_start, initargs=(tokenizer_file,))
        self.seed, self.next, self.budget = seed, start, budget
        self.ahead: collections.deque[Future] = collections.deque()

    def pair(self) -> list[batches.Batch]:
        while len(self.ahead) < 12:
            for group in (0, 1):
                self.ahead.append(self.pool.submit(worker_make, self.seed, self.next, group, self.budget))
            self.next += 1
        return [self.ahead.popleft().result() for _ in range(2)]


def optimizers(m: torch.nn.Module, head: torch.nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms, biases, kernels and heads."""
    matrices, rest = [], list(head.parameters())
    for name, p in m.named_parameters():
        inner = p.ndim == 2 and not any(w in name for w in ("embed", "lm_head"))
        (matrices if inner else rest).append(p)
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, required=True, help="checkpoint folder in Hugging Face layout")
    ap.add_argument("--state", type=Path, required=True, help="where training can be resumed from")
    ap.add_argument("--seed", type=int, default=46)
    ap.add_argument("--dense-steps", type=int, default=1600)
    ap.add_argument("--steps", type=int, default=6300, help="in all, the dense ones included")
    ap.add_argument("--budget", type=int, default=800, help="picture tokens a batch; two batches a step")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--save-every", type=int, default=300)
    a = ap.parse_args()
    # Ids must not change under a model that is being trained on.
    known = (a.out / "tokenizer.json").exists()
    tok = PreTrainedTokenizerFast.from_pretrained(a.out) if known else nano_tokenizer.build(a.out)
    m = nano.build(tok, a.seed)
    m.set_attn_implementation("eager")  # its backward is faster here
    worst = nano.check_equal(m)
    print(f"parameters {sum(p.numel() for p in m.parameters()):,}; fast vision differs by {worst:.1e}", flush=True)
    assert worst < 1e-4
    torch.manual_seed(a.seed)
    head = torch.nn.Linear(nano.TEXT["hidden_size"], 4 * sum(KINDS))
    place = torch.nn.ModuleDict({"zone": torch.nn.Linear(nano.TEXT["hidden_size"], 9), "centre": torch.nn.Linear(nano.TEXT["hidden_size"], 3)})
    opts = optimizers(m, head, a.lr)
    opts.append(torch.optim.AdamW(place.parameters(), lr=a.lr, weight_decay=0.0))
    ema = {k: v.detach().clone() for k, v in m.named_parameters()}
    step = 0
    if a.state.exists():
        s = torch.load(a.state)
        m.load_state_dict(s["model"]), head.load_state_dict(s["head"]), place.load_state_dict(s["place"])
        for o, d in zip(opts, s["opts"]):
            o.load_state_dict(d)
        ema, step = s["ema"], s["step"]
    feed = Feed(str(a.out / "tokenizer.json"), a.seed, step, a.budget)
    stats: dict[str, list[float]] = collections.defaultdict(list)
    began = time.time()

    def save() -> None:
        torch.save({"model": m.state_dict(), "head": head.state_dict(), "place": place.state_dict(), "opts": [o.state_dict() for o in opts], "ema": ema, "step": step}, a.state)
        live = {k: p.detach().clone() for k, p in m.named_parameters()}
        with torch.no_grad():
            for k, p in m.named_parameters():
                p.copy_(ema[k])
            m.save_pretrained(a.out)
            for k, p in m.named_parameters():
                p.copy_(live[k])

    while step < a.steps:
        dense = step < a.dense_steps
        # One warm-up a stage; the second stage decays to zero.
        at = step if dense else step - a.dense_steps
        scale = min(1.0, (at + 1) / 100) * (1.0 if dense else min(1.0, 1.6 * (1 - at / (a.steps - a.dense_steps))))
        for o in opts:
            for g in o.param_groups:
                g["lr"] = a.lr * scale
            o.zero_grad(set_to_none=True)
        for group, b in enumerate(feed.pair()):
            gh, gw = b.images.shape[1] // 14, b.images.shape[2] // 14
            with torch.autocast("cpu", torch.bfloat16):
                feats = nano.vision(m.model.visual, nano.patches(torch.from_numpy(b.images)), gh, gw)
                zones, centres = place["zone"](feats).float(), place["centre"](feats).float()
                seen = head(feats).view(*feats.shape[:2], 4, -1).float().split(KINDS, -1)
            loss = torch.zeros(())
            if group == 1:
                want = torch.from_numpy(b.zones).expand(len(feats), -1)
                loss = loss + F.cross_entropy(zones.flatten(0, 1), want.flatten()) * 0.2
                want_centres = torch.from_numpy(b.centres)
                loss = loss + F.cross_entropy(centres.flatten(0, 1), want_centres.flatten(), torch.tensor([0.3, 1.0, 1.0])) * 0.3
                there = want_centres > 0
                stats["centre"].append((centres.argmax(-1)[there] == want_centres[there]).float().mean().item())
                stats["zone"].append((zones.argmax(-1) == want).float().mean().item())
            cells = torch.from_numpy(b.cells).view(*feats.shape[:2], 4, 3)
            for c, scores in enumerate(seen):
                if (c == 2) != (group == 0):
                    continue
                want = cells[..., c].flatten()
                weight = torch.ones(scores.shape[-1])
                weight[0] = 0.15
                loss = loss + F.cross_entropy(scores.flatten(0, 2), want, weight) * (1.0 if dense else 0.2)
                there = want > 0
                stats[("shape", "colour", "char")[c]].append((scores.flatten(0, 2).argmax(-1)[there] == want[there]).float().mean().item())
            if not dense:
                targets = torch.from_numpy(b.targets)
                wanted = targets >= 0
                with torch.autocast("cpu", torch.bfloat16):
                    logits = nano.logits_at(m, feats, torch.from_numpy(b.ids), torch.from_numpy(b.positions), wanted)
                logits, want = logits.float(), targets[wanted]
                weight = torch.from_numpy(b.weights)[wanted]
                loss = loss + (F.cross_entropy(logits, want, reduction="none") * weight).sum() / weight.sum()
                right = np.ones(len(b.ids), bool)
                rows = wanted.nonzero()[:, 0].numpy()
                np.logical_and.at(right, rows, (logits.argmax(-1) == want).numpy())
                stats[("text exact", "talk exact")[group]].append(right.mean().item())
            loss.backward()
            stats["loss"].append(loss.item())
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        for o in opts:
            o.step()
        step += 1
        keep = min(0.998, step / (step + 20))
        with torch.no_grad():
            for k, p in m.named_parameters():
                ema[k].lerp_(p, 1 - keep)
        if step % 50 == 0:
            line = "  ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in stats.items())
            print(f"{step} {time.time() - began:.0f}s  {line}", flush=True)
            stats.clear()
        if step % a.save_every == 0 or step == a.steps:
            save()


if __name__ == "__main__":
    main()
