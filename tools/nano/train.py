"""Trains models/nano on two cores (see README.md beside this file for the command and how long it takes).

First the vision tower alone learns what covers each patch, through a head that is thrown away; then the whole model
learns to answer, several turns a picture. The same seed and step counts give the same batches.
"""

from __future__ import annotations

import argparse
import collections
import copy
import multiprocessing
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

CENTRE_WEIGHTS = np.array([0.3, 1.0, 1.0], np.float32)
KINDS = (len(SHAPES) + 1, len(COLOURS) + 1, len(batches.CHARS) + 1)
_tok: Tokenizer


def worker_start(path: str) -> None:
    global _tok
    os.nice(5)
    _tok = Tokenizer.from_file(path)


def worker_make(*args: int) -> batches.Batch:
    return batches.make(_tok, *args)


class Feed:
    """Batches in order, drawn ahead in other processes."""

    def __init__(self, tokenizer_file: str, seed: int, start: int, budget: int, workers: int) -> None:
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), initializer=worker_start, initargs=(tokenizer_file,))
        self.seed, self.next, self.budget, self.depth = seed, start, budget, 12 * workers
        self.ahead: collections.deque[Future] = collections.deque()
        self.fill()

    def fill(self) -> None:
        while len(self.ahead) < self.depth:
            for group in (0, 1):
                self.ahead.append(self.pool.submit(worker_make, self.seed, self.next, group, self.budget))
            self.next += 1

    def pair(self) -> list[batches.Batch]:
        self.fill()
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
    ap.add_argument("--dense-steps", type=int, default=790)
    ap.add_argument("--steps", type=int, default=1873, help="in all, the dense ones included")
    ap.add_argument("--budget", type=int, default=3200, help="picture tokens a batch; two batches a step")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 2), help="processes that draw")
    ap.add_argument("--seconds", type=float, help="as many steps as fit, told at the end; overrides both counts")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--save-every", type=int, default=300)
    a = ap.parse_args()
    if a.seconds:
        a.dense_steps = a.steps = 10**9
    # Ids must not change under a model that is being trained on.
    known = (a.out / "tokenizer.json").exists()
    tok = PreTrainedTokenizerFast.from_pretrained(a.out) if known else nano_tokenizer.build(a.out)
    m = nano.build(tok, a.seed)
    m.set_attn_implementation("eager")  # its backward is faster here
    worst = nano.check_equal(m)
    print(f"parameters {sum(p.numel() for p in m.parameters()):,}; fast vision differs by {worst:.1e}", flush=True)
    assert worst < 1e-4
    step = torch.load(a.state, map_location="cpu")["step"] if a.state.exists() else 0
    feed = Feed(str(a.out / "tokenizer.json"), a.seed, step, a.budget, a.workers)  # its processes first, then the GPU's context
    torch.manual_seed(a.seed)
    device = torch.device(a.device)
    m.to(device)
    head = torch.nn.Linear(nano.TEXT["hidden_size"], 4 * sum(KINDS), device=device)
    place = torch.nn.ModuleDict({"zone": torch.nn.Linear(nano.TEXT["hidden_size"], 9), "centre": torch.nn.Linear(nano.TEXT["hidden_size"], 3)}).to(device)
    opts = optimizers(m, head, a.lr)
    opts.append(torch.optim.AdamW(place.parameters(), lr=a.lr, weight_decay=0.0))
    ema = {k: v.detach().clone() for k, v in m.named_parameters()}
    if a.state.exists():
        s = torch.load(a.state, map_location=device)
        m.load_state_dict(s["model"]), head.load_state_dict(s["head"]), place.load_state_dict(s["place"])
        for o, d in zip(opts, s["opts"]):
            o.load_state_dict(d)
        ema = s["ema"]
    stats: dict[str, list[torch.Tensor]] = collections.defaultdict(list)
    began = time.time()

    def save() -> None:
        torch.save({"model": m.state_dict(), "head": head.state_dict(), "place": place.state_dict(), "opts": [o.state_dict() for o in opts], "ema": ema, "step": step}, a.state)
        averaged = copy.deepcopy(m)
        averaged.load_state_dict(ema, strict=False)
        averaged.bfloat16().cpu().save_pretrained(a.out)

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    def rightness(scores: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
        """Share of the places where something is to be seen that are right; stays on the device."""
        there = want > 0
        return ((scores.argmax(-1) == want) & there).sum() / there.sum().clamp(min=1)

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
            with torch.autocast(device.type, torch.bfloat16):
                feats = nano.vision(m.model.visual, nano.patches(put(b.images)), gh, gw)
                zones, centres = place["zone"](feats).float(), place["centre"](feats).float()
                seen = head(feats).view(*feats.shape[:2], 4, -1).float().split(KINDS, -1)
            loss = torch.zeros((), device=device)
            if group == 1:
                want = put(b.zones).expand(len(feats), -1)
                loss = loss + F.cross_entropy(zones.flatten(0, 1), want.flatten()) * 0.2
                want_centres = put(b.centres)
                loss = loss + F.cross_entropy(centres.flatten(0, 1), want_centres.flatten(), put(CENTRE_WEIGHTS)) * 0.3
                stats["centre"].append(rightness(centres, want_centres))
                stats["zone"].append((zones.argmax(-1) == want).float().mean())
            cells = put(b.cells).view(*feats.shape[:2], 4, 3)
            for c, scores in enumerate(seen):
                if (c == 2) != (group == 0):
                    continue
                want = cells[..., c].flatten()
                weight = torch.ones(scores.shape[-1], device=device)
                weight[0] = 0.15
                loss = loss + F.cross_entropy(scores.flatten(0, 2), want, weight) * (1.0 if dense else 0.2)
                stats[("shape", "colour", "char")[c]].append(rightness(scores.flatten(0, 2), want))
            if not dense:
                is_wanted = torch.from_numpy(b.targets >= 0)
                rows = is_wanted.nonzero()[:, 0].to(device)
                want = put(b.targets[is_wanted.numpy()])
                with torch.autocast(device.type, torch.bfloat16):
                    logits = nano.logits_at(m, feats, put(b.ids), put(b.positions), is_wanted.to(device)).float()
                weight = put(b.weights[is_wanted.numpy()])
                loss = loss + (F.cross_entropy(logits, want, reduction="none") * weight).sum() / weight.sum()
                wrong = torch.zeros(len(b.ids), device=device).index_add_(0, rows, (logits.argmax(-1) != want).float())
                stats[("text exact", "talk exact")[group]].append((wrong == 0).float().mean())
            loss.backward()
            stats["loss"].append(loss.detach())
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        for o in opts:
            o.step()
        step += 1
        keep = min(0.998, step / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), [p.detach() for p in m.parameters()], 1 - keep)
        if a.seconds:
            if step in (100, a.dense_steps + 100):
                timed = time.time()
            if step == 200:
                a.dense_steps = int(0.22 * a.seconds / (time.time() - timed) * 100)
            if step == a.dense_steps + 200:
                a.steps = step + int((began + a.seconds - time.time()) / (time.time() - timed) * 100)
                print(f"--dense-steps {a.dense_steps} --steps {a.steps}", flush=True)
        if step % 50 == 0:
            line = "  ".join(f"{k} {torch.stack(v).mean().item():.3f}" for k, v in stats.items())
            print(f"{step} {time.time() - began:.0f}s  {line}", flush=True)
            stats.clear()
        if step % a.save_every == 0 or step == a.steps:
            save()


if __name__ == "__main__":
    main()
