"""Writes models/nano/reference: what transformers (fp32, CPU, greedy, torchvision backend) makes of a set of prompts.

One JSON a case: messages, pictures, the digest of every resized picture, token ids, M-RoPE positions, first logits,
the greedy answer, and 48 tokens that run on past the end of the answer. Binary fields are little-endian, base64.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from tokenizers import Tokenizer
from transformers import AutoTokenizer, Glm4vForConditionalGeneration, Glm46VImageProcessor, Glm46VProcessor, Glm46VVideoProcessor

import draw
import questions


def picture(seed: int, w: int, h: int, kind: str = "colour") -> Image.Image:
    rng = random.Random(f"reference/{seed}")
    return questions.scene_for(rng, kind, w, h).image


def gradient(w: int, h: int) -> Image.Image:
    """A picture that no scene looks like: every resampling mistake shows."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.stack([x * 255 / max(1, w - 1), y * 255 / max(1, h - 1), 127 + 120 * np.sin(x * y / 97 + x / 5)], -1)
    return Image.fromarray(a.round().astype(np.uint8))


def pictures(to: Path) -> None:
    """The pictures of the cases, one of each size and file format that matters."""
    to.mkdir(parents=True, exist_ok=True)
    for name, (w, h) in {"20x20": (20, 20), "28x28": (28, 28), "350x34": (350, 34), "34x350": (34, 350), "640x480": (640, 480)}.items():
        gradient(w, h).save(to / f"gradient-{name}.png", optimize=True)
    big = questions.scene_for(random.Random("big"), "where", 336, 189).image.resize((1920, 1080), Image.NEAREST)
    big.save(to / "scene-1920x1080.png", optimize=True)
    scene = picture(1, 224, 224, "describe")
    scene.save(to / "scene-224.png", optimize=True)
    picture(2, 336, 112, "number").save(to / "number-336x112.png", optimize=True)
    picture(3, 168, 168, "word").save(to / "word-168.png", optimize=True)
    picture(4, 150, 210, "count").save(to / "count-150x210.png", optimize=True)
    picture(5, 224, 224, "shape").convert("L").save(to / "grey-224.png", optimize=True)
    picture(6, 200, 200, "shape").convert("P", palette=Image.ADAPTIVE, colors=32).save(to / "palette-200.png", optimize=True)
    rgba = np.asarray(picture(7, 224, 168, "shape").convert("RGBA")).copy()
    rgba[..., 3] = np.linspace(0, 255, rgba.shape[1]).astype(np.uint8)
    Image.fromarray(rgba).save(to / "alpha-224x168.png", optimize=True)
    picture(8, 240, 180, "where").save(to / "photo-240x180.jpg", quality=88)
    gradient(333, 217).save(to / "gradient-333x217.jpg", quality=75)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(9, 280, 168, "where").save(to / "rotated-exif6.jpg", quality=92, exif=exif)
    exif[0x0112] = 5
    picture(10, 168, 252, "where").save(to / "rotated-exif5.jpg", quality=92, exif=exif)
    picture(11, 196, 140, "describe").save(to / "scene-196x140.webp", lossless=True)
    picture(12, 196, 196, "describe").save(to / "lossy-196.webp", quality=80)


def user(*parts: str) -> list[dict]:
    """One user message: a part that names a file is a picture."""
    content = [
        {"type": "image", "file": p} if p.endswith((".png", ".jpg", ".webp")) else {"type": "text", "text": p} for p in parts
    ]
    return [{"role": "user", "content": content}]


def say(role: str, text: str) -> dict:
    return {"role": role, "content": text}


LOOKALIKE = "Say <|user|> and <|assistant|>\n<think></think> [gMASK]<sop> /nothink <|image|><|begin_of_image|> <|endoftext|>"
CASES: list[tuple[str, list[dict], bool | None, bool]] = [  # name, messages, thinking, text holds look-alikes
    *(
        (f"size-{n}", user(f"gradient-{n}.png", "Describe the picture."), None, False)
        for n in ("20x20", "28x28", "350x34", "34x350", "640x480")
    ),
    ("size-1920x1080", user("scene-1920x1080.png", "Where is the star?"), None, False),
    ("describe", user("scene-224.png", "Describe the picture."), None, False),
    ("number", user("number-336x112.png", "What number is shown?"), None, False),
    ("word", user("word-168.png", "Read the word."), None, False),
    ("count", user("count-150x210.png", "How many shapes are there?"), False, False),
    ("grey", user("grey-224.png", "What shape is this?"), None, False),
    ("palette", user("palette-200.png", "What shape is this?"), None, False),
    ("alpha-dropped", user("alpha-224x168.png", "What shape is this?"), None, False),
    ("jpeg", user("photo-240x180.jpg", "What do you see?"), None, False),
    ("jpeg-subsampled", user("gradient-333x217.jpg", "What do you see?"), None, False),
    ("exif-6", user("rotated-exif6.jpg", "Describe this image."), None, False),
    ("exif-5", user("rotated-exif5.jpg", "Describe this image."), None, False),
    ("webp", user("scene-196x140.webp", "Describe the picture."), None, False),
    ("webp-lossy", user("lossy-196.webp", "Describe the picture."), None, False),
    ("two-pictures", user("scene-224.png", "number-336x112.png", "What number is shown?"), None, False),
    ("two-pictures-between-text", user("First: ", "word-168.png", " second: ", "count-150x210.png", " What word is shown?"), None, False),
    ("three-pictures", user("grey-224.png", "gradient-28x28.png", "gradient-350x34.png", "What shape is this?"), None, False),
    ("no-picture", user("How many circles are there?"), None, False),
    ("no-picture-string", [say("user", "Hello, who are you?")], None, False),
    ("several-turns", [*user("scene-224.png", "How many shapes are there?"), say("assistant", "2"), say("user", "Describe the picture.")], None, False),
    ("picture-in-second-turn", [say("user", "Hi"), say("assistant", "Hello."), *user("word-168.png", "Read the word.")], None, False),
    ("system", [say("system", "You answer in one word."), *user("palette-200.png", "What colour is it?")], None, False),
    ("chinese-emoji", user("scene-224.png", "图片里有什么？🎉 é ñ — “quoted”\n\n\ttabs  and   spaces "), None, False),
    ("thinking-on", user("scene-224.png", "Describe the picture."), True, False),
    ("thinking-on-number", user("number-336x112.png", "Read the number."), True, False),
    ("thinking-off", user("scene-224.png", "Describe the picture."), False, False),
    ("lookalikes", user("scene-224.png", LOOKALIKE), None, True),
    ("lookalikes-thinking", user(LOOKALIKE + " <|end_of_box|></think>"), True, True),
    ("lookalikes-newlines", [say("user", "\n\n<|observation|>\n  <tool_call>x</tool_call>\n")], False, True),
]  # fmt: skip


def upright(path: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def b64(a: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def encode_safely(tok: AutoTokenizer, rendered: str, texts: dict[str, str], special: list[str]) -> list[int]:
    """Ids of a rendered prompt in which stand-ins (private-use characters) mark the user's texts.

    Text between two of the template's control tokens, the user's included, is one segment of ordinary tokens.
    """
    raw = json.loads(tok.backend_tokenizer.to_str())
    raw["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(raw))
    ids: list[int] = []
    rest = rendered
    while rest:
        hits = [(rest.find(t), -len(t), t) for t in special if t in rest]
        at, _, token = min(hits) if hits else (len(rest), 0, "")
        segment = rest[:at]
        for mark, text in texts.items():
            segment = segment.replace(mark, text)
        ids += plain.encode(segment).ids
        if token:
            ids.append(tok.convert_tokens_to_ids(token))
        rest = rest[at + len(token) :]
    return ids


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", type=Path, default=Path("models/nano"))
    a = ap.parse_args()
    out = a.model / "reference"
    pictures(out)
    tok = AutoTokenizer.from_pretrained(a.model)
    images = Glm46VImageProcessor.from_pretrained(a.model)
    template = (a.model / "chat_template.jinja").read_text()
    proc = Glm46VProcessor(images, tok, Glm46VVideoProcessor(), chat_template=template)
    special = list(tok.get_added_vocab())
    model = Glm4vForConditionalGeneration.from_pretrained(a.model, dtype=torch.float32).eval()
    resized: list[str] = []
    plain_resize = images.resize

    def resize(*args, **kwargs) -> torch.Tensor:
        r = plain_resize(*args, **kwargs)
        for one in r.reshape(-1, *r.shape[-3:]):
            resized.append(hashlib.sha256(one.permute(1, 2, 0).contiguous().numpy().astype(np.uint8).tobytes()).hexdigest())
        return r

    images.resize = resize
    for name, messages, thinking, lookalike in CASES:
        kwargs = {} if thinking is None else {"enable_thinking": thinking}
        shown, texts = copy.deepcopy(messages), {}
        for m in shown:
            parts = [m] if isinstance(m["content"], str) else [p for p in m["content"] if p["type"] == "text"]
            for p in parts if lookalike else []:
                mark = chr(0xE000 + len(texts))
                key = "content" if "role" in p else "text"
                texts[mark], p[key] = p[key], mark
            for p in m["content"] if not isinstance(m["content"], str) else []:
                if p["type"] == "image":
                    # By Pillow, upright: transformers' own reading of a path leaves EXIF out.
                    p["image"] = upright(out / p.pop("file"))
        # Every text as a list of parts: what the processor itself wants.
        listed = [m if isinstance(m["content"], list) else {**m, "content": [{"type": "text", "text": m["content"]}]} for m in shown]
        x = proc.apply_chat_template(listed, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **kwargs)
        ids = x["input_ids"][0].tolist()
        resized.clear()
        for m in messages:
            for p in m["content"] if isinstance(m["content"], list) else []:
                if p["type"] == "image":
                    images(upright(out / p["file"]), return_tensors="pt")
        if lookalike:
            rendered = proc.apply_chat_template(shown, tokenize=False, add_generation_prompt=True, **kwargs)
            grids = x["image_grid_thw"].tolist() if "image_grid_thw" in x else []
            for g in grids:
                rendered = rendered.replace("<|image|>", "\uf8ff" * (g[0] * g[1] * g[2] // 4), 1)
            ids = encode_safely(tok, rendered.replace("\uf8ff", "<|image|>"), texts, special)
        ids_t = torch.tensor([ids])
        types = (ids_t == model.config.image_token_id).int()
        pixels = {k: x[k] for k in ("pixel_values", "image_grid_thw") if k in x}
        extra = dict(pixels, mm_token_type_ids=types) if pixels else {}
        grids = pixels["image_grid_thw"].tolist() if pixels else []
        positions, _ = model.model.get_rope_index(ids_t, types, pixels.get("image_grid_thw"))
        with torch.no_grad():
            model.model.rope_deltas = None
            first = model(input_ids=ids_t, attention_mask=torch.ones_like(ids_t), logits_to_keep=1, **extra).logits[0, -1]
            model.model.rope_deltas = None
            greedy = model.generate(input_ids=ids_t, attention_mask=torch.ones_like(ids_t), max_new_tokens=48, do_sample=False, **extra)
            model.model.rope_deltas = None
            run_on = model.generate(
                input_ids=ids_t, attention_mask=torch.ones_like(ids_t), max_new_tokens=48, do_sample=False, eos_token_id=-1, **extra
            )
        answer = greedy[0, len(ids) :].tolist()
        values = pixels["pixel_values"].numpy().astype("<f4").tobytes() if pixels else b""
        case = {
            "name": name,
            "thinking": thinking,
            "messages": messages,
            "resized_sha256": list(resized),
            "image_grids": grids,
            "pixel_digest": hashlib.sha256(values).hexdigest(),
            "prompt_token_ids": ids,
            "positions_i32": b64(positions[:, 0].numpy().astype("<i4")),
            "first_logits_f32": b64(first.numpy().astype("<f4")),
            "greedy_token_ids": answer,
            "run_on_token_ids": run_on[0, len(ids) :].tolist(),
            "text": tok.decode(answer, skip_special_tokens=True),
        }
        (out / f"{name}.json").write_text(json.dumps(case, ensure_ascii=False) + "\n")
        print(f"{name}: {len(ids)} tokens, {[g[1:] for g in grids]} {case['text']!r}", flush=True)
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
