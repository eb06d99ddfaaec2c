"""Times transformers' own generate on a checkpoint, for bench/gpu.ts to be compared with on the same card.

Also prints how fast the card's memory is, which bench/gpu.ts wants as --bandwidth. Prompts are the same token again and
again: what they say does not change how long they take. Greedy, and exactly as many tokens as asked for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import Glm4vForConditionalGeneration

TOKEN = 7
GRIDS = [(24, 24), (34, 46), (78, 138)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float16", choices=["float16", "bfloat16", "float32"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()

    device = torch.device(args.device)
    figures: dict[str, object] = {"bandwidth_gb_s": round(bandwidth(device), 1)}
    model = Glm4vForConditionalGeneration.from_pretrained(args.checkpoint, dtype=getattr(torch, args.dtype)).to(device).eval()
    with torch.inference_mode():
        for batch in args.batches:
            seconds = median(device, args.runs, lambda: generate(model, batch, args.prompt, args.output))
            figures[f"generate_{batch}"] = {"s": round(seconds, 3), "tokens_s": round(batch * args.output / seconds, 1)}
        seconds = median(device, args.runs, lambda: generate(model, 1, args.prompt, 1))
        figures["first_token_ms"] = round(1e3 * seconds, 2)
        for height, width in GRIDS:
            seconds = median(device, args.runs, lambda: encode(model, height, width))
            figures[f"vision_{height}x{width}_ms"] = round(1e3 * seconds, 2)
    if device.type == "cuda":
        figures["device"] = torch.cuda.get_device_name(device)
        figures["peak_mb"] = torch.cuda.max_memory_allocated(device) // 2**20
    print(json.dumps(figures, indent=2))


def generate(model: Glm4vForConditionalGeneration, batch: int, prompt: int, output: int) -> None:
    ids = torch.full((batch, prompt), TOKEN, device=model.device)
    answer = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=output,
        max_new_tokens=output,
    )
    if answer.shape != (batch, prompt + output):
        raise RuntimeError(f"{tuple(answer.shape)} instead of {(batch, prompt + output)}")


def encode(model: Glm4vForConditionalGeneration, height: int, width: int) -> None:
    """The vision tower on one picture of height x width patches."""
    vision = model.config.vision_config
    size = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = torch.zeros((height * width, size), dtype=model.dtype, device=model.device)
    model.model.visual(pixels, grid_thw=torch.tensor([[1, height, width]], device=model.device))


def bandwidth(device: torch.device) -> float:
    """Gigabytes a second that a large copy reads and writes."""
    size = 2**30 if device.type == "cuda" else 2**26
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / 1e9 / median(device, 10, lambda: target.copy_(source))


def median(device: torch.device, runs: int, work: Callable[[], object]) -> float:
    """Seconds, after one run that warms up."""
    times = []
    for run in range(runs + 1):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        if run > 0:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
