"""Makes tiny random glm4v checkpoints with transformers' reference outputs, for tests of the converter and the engine.

    python tools/nano/tiny.py OUT_DIR [NAME ...]

Each OUT_DIR/NAME is a checkpoint in Hugging Face layout plus `reference.safetensors` (fp32, CPU, greedy):
for every case i `i.grids`, `i.ids`, `i.positions`, `i.features`, `i.logits` (after the prompt) and `i.tokens`.
Pictures are not stored: `pixel(k) = ((k * 7919 + seed) % 2003) / 1001 - 1` with seed i, k over the flat array.
Weights are drawn by fan-in, norms and biases at random too: the default initialisation is so small that wrong
positions or swapped norms would hardly show in the logits.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

IMAGE, VIDEO, VOCAB, NEW_TOKENS = 301, 302, 320, 48

TEXT = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=1024, pad_token_id=0,
            rope_parameters=dict(rope_type="default", rope_theta=500000.0, partial_rotary_factor=0.5, mrope_section=[1, 1, 2]))
VISION = dict(depth=2, hidden_size=48, num_heads=3, patch_size=4, image_size=24, out_hidden_size=64, intermediate_size=56)

CHECKPOINTS = {
    # The plain shape: grouped heads, half rotary, an untied head.
    "plain": dict(),
    # bfloat16 in several files, tied embeddings, a bias in the vision attention, one KV head, full rotary.
    "sharded": dict(text=dict(num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1,
                              rope_parameters=dict(rope_theta=10000.0, partial_rotary_factor=1.0, mrope_section=[4, 6, 6])),
                    vision=dict(depth=1, hidden_size=32, num_heads=2, attention_bias=True, image_size=32),
                    tie=True, dtype=torch.bfloat16, shard="40KB"),
    # float16, heads of a size that the attention kernel must pad, tensors and rope settings spelled as before transformers 5.
    "legacy": dict(text=dict(hidden_size=60, num_attention_heads=5, num_key_value_heads=1, intermediate_size=44,
                             rope_parameters=dict(rope_theta=20000.0, partial_rotary_factor=0.5, mrope_section=[1, 1, 1])),
                   vision=dict(hidden_size=24, num_heads=2, out_hidden_size=60, patch_size=6), dtype=torch.float16, legacy=True),
    # Deeper and wider, all heads their own KV head, an explicit head_dim, other epsilons and another vision theta.
    "deep": dict(text=dict(hidden_size=128, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=4, head_dim=32,
                           rms_norm_eps=1e-6, intermediate_size=160,
                           rope_parameters=dict(rope_theta=1e6, partial_rotary_factor=0.5, mrope_section=[2, 3, 3])),
                 vision=dict(depth=4, hidden_size=64, num_heads=2, out_hidden_size=128, intermediate_size=96, patch_size=14,
                             image_size=336, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="axial", rope_theta=5000.0))),
}

# Prompts: a number is that many text tokens, a pair is a picture's patch grid (h, w).
CASES = [[12], [5, (6, 6), 7], [3, (8, 4), 2, (4, 14), 9, (8, 4), 4], [2, (18, 22), 6]]


def randomise(model, generator):
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=generator)
        if p.ndim == 1:
            x = x * 0.3 + (1.0 if name.endswith("weight") else 0.0)
        elif "embed" in name and "patch" not in name:
            x = x * 0.25
        else:
            x = x * p[0].numel() ** -0.5
        p.data.copy_(x)


def pixels(rows, width, seed):
    k = torch.arange(rows * width, dtype=torch.int64)
    return (((k * 7919 + seed) % 2003).double() / 1001 - 1).float().view(rows, width)


def reference(model, seed, prompt, generator):
    merge, vision = model.config.vision_config.spatial_merge_size, model.config.vision_config
    ids, grids = [], []
    for part in prompt:
        if isinstance(part, int):
            ids += torch.randint(1, 300, (part,), generator=generator).tolist()
        else:
            grids.append([1, *part])
            ids += [IMAGE] * (part[0] * part[1] // merge**2)
    ids = torch.tensor([ids])
    types = (ids == IMAGE).int()
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=types)
    out = {}
    if grids:
        grid = torch.tensor(grids)
        width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        x = pixels(int(grid.prod(-1).sum()), width, seed)
        inputs |= dict(pixel_values=x, image_grid_thw=grid)
        features = model.model.get_image_features(x, grid).pooler_output
        out |= dict(grids=grid.int(), features=torch.cat(list(features)) if not torch.is_tensor(features) else features)
    positions, _ = model.model.get_rope_index(ids, types, image_grid_thw=inputs.get("image_grid_thw"),
                                              attention_mask=inputs["attention_mask"])
    generated = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0,
                               output_logits=True, return_dict_in_generate=True)
    out |= dict(ids=ids[0].int(), positions=positions[:, 0].int(), logits=generated.logits[0][0],
                tokens=generated.sequences[0, ids.shape[1]:].int())
    return {f"{seed}.{key}": value.contiguous() for key, value in out.items()}


def legacy_config(folder):
    """Spells the rope settings as transformers 4.5x does."""
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    rope = text.pop("rope_parameters")
    text |= dict(rope_theta=rope["rope_theta"], partial_rotary_factor=rope["partial_rotary_factor"],
                 rope_scaling=dict(type="default", mrope_section=rope["mrope_section"]))
    config["vision_config"].pop("rope_parameters")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def legacy_names(folder):
    """Names tensors as before the model had a `language_model`; transformers 5 no longer reads these."""
    old = {key.replace("model.visual.", "visual.").replace("model.language_model.", "model."): value
           for key, value in load_file(folder / "model.safetensors").items()}
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def make(folder, text={}, vision={}, tie=False, dtype=torch.float32, shard="1GB", legacy=False):
    generator = torch.Generator().manual_seed(len(folder.name))
    config = Glm4vConfig(text_config=TEXT | text, vision_config=VISION | vision, image_token_id=IMAGE, video_token_id=VIDEO,
                         image_start_token_id=303, image_end_token_id=304, video_start_token_id=305, video_end_token_id=306,
                         tie_word_embeddings=tie)
    model = Glm4vForConditionalGeneration(config).eval()
    randomise(model, generator)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    if legacy:
        legacy_config(folder)
    # Read back, so that the reference sees what is in the files.
    model = Glm4vForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tensors = {}
    for seed, prompt in enumerate(CASES):
        tensors |= reference(model, seed, prompt, generator)
    save_file(tensors, folder / "reference.safetensors")
    if legacy:
        legacy_names(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, *chosen = sys.argv[1:]
    for name in chosen or CHECKPOINTS:
        make(Path(out) / name, **CHECKPOINTS[name])
        print(name, sum(f.stat().st_size for f in (Path(out) / name).iterdir()))
