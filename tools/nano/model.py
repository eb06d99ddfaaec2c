"""models/nano: its shape, its initialisation, and a fast equal of its vision forward for training.

The weights are transformers' own Glm4vForConditionalGeneration throughout; only the order of some sums differs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import Glm4vConfig, Glm4vForConditionalGeneration, PreTrainedTokenizerFast

TEXT = dict(
    hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=2,
    max_position_embeddings=8192, rms_norm_eps=1e-5, hidden_act="silu",
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [4, 6, 6]},
)  # fmt: skip
VISION = dict(
    depth=4, hidden_size=128, num_heads=4, out_hidden_size=384, intermediate_size=384, image_size=336,
    patch_size=14, temporal_patch_size=2, spatial_merge_size=2, in_channels=3, rms_norm_eps=1e-5, hidden_act="silu",
)  # fmt: skip


def build(tok: PreTrainedTokenizerFast, seed: int) -> Glm4vForConditionalGeneration:
    """A fresh model, initialised by fan-in (transformers' 0.02 leaves such widths at chance for an hour)."""
    torch.manual_seed(seed)
    ids = {n: tok.convert_tokens_to_ids(t) for n, t in (
        ("image_token_id", "<|image|>"), ("video_token_id", "<|video|>"),
        ("image_start_token_id", "<|begin_of_image|>"), ("image_end_token_id", "<|end_of_image|>"),
        ("video_start_token_id", "<|begin_of_video|>"), ("video_end_token_id", "<|end_of_video|>"),
    )}  # fmt: skip
    eos = [tok.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|user|>", "<|observation|>")]
    text = dict(TEXT, vocab_size=(len(tok) + 31) // 32 * 32, pad_token_id=eos[0], eos_token_id=eos)
    config = Glm4vConfig(text_config=text, vision_config=VISION, tie_word_embeddings=False, **ids)
    model = Glm4vForConditionalGeneration(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            elif "post_self_attn_layernorm" in name or "post_mlp_layernorm" in name:
                p.fill_(0.3)
            elif "norm" in name:
                p.fill_(1.0)
            elif "position_embedding" in name:
                p.normal_(0, 0.3)
            elif "embed_tokens" in name:
                p.normal_(0, 0.5)
            else:
                p.normal_(0, p[0].numel() ** -0.5)
    model.generation_config.update(eos_token_id=eos, pad_token_id=eos[0], do_sample=False, bos_token_id=None)
    return model


MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def patches(images: torch.Tensor) -> torch.Tensor:
    """uint8 [B, H, W, 3] (sides multiples of 28) -> normalised [B, patches, 588] in the processor's order, one frame."""
    b, h, w, _ = images.shape
    x = (images.float() / 255 - MEAN.to(images.device)) / STD.to(images.device)
    x = x.view(b, h // 28, 2, 14, w // 28, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    return x.reshape(b, (h // 14) * (w // 14), 3 * 14 * 14)


def vision(v: torch.nn.Module, x: torch.Tensor, gh: int, gw: int) -> torch.Tensor:
    """`Glm4vVisionModel` for B pictures of one grid: [B, gh*gw, 588] -> [B, gh*gw/4, out_hidden].

    Both frames of a still picture are equal, so the two temporal halves of the patch kernel are summed.
    """
    b, n, _ = x.shape
    d, heads = v.config.hidden_size, v.config.num_heads
    k = v.patch_embed.proj
    x = F.linear(x, k.weight.sum(2).reshape(d, -1), k.bias)
    x = v.post_conv_layernorm(x)
    device = x.device
    rows = torch.arange(gh, device=device).view(gh // 2, 1, 2, 1).expand(gh // 2, gw // 2, 2, 2).reshape(-1)
    cols = torch.arange(gw, device=device).view(1, gw // 2, 1, 2).expand(gh // 2, gw // 2, 2, 2).reshape(-1)
    at = torch.stack(((cols + 0.5) / gw * 2 - 1, (rows + 0.5) / gh * 2 - 1), -1)[None, :, None].float()
    table = v.embeddings.position_embedding.weight.float()
    side = int(table.shape[0] ** 0.5)
    with torch.autocast(x.device.type, enabled=False):
        pos = F.grid_sample(table.view(side, side, d).permute(2, 0, 1)[None], at, "bicubic", "border", False)
    x = x + pos[0, :, :, 0].T
    cos, sin = v.rotary_pos_emb(x, torch.stack((rows, cols), 1))
    for blk in v.blocks:
        q, k_, val = blk.attn.qkv(blk.norm1(x)).view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k_ = q * cos + half(q) * sin, k_ * cos + half(k_) * sin
        a = attend(q.to(val.dtype), k_.to(val.dtype), val)
        x = x + blk.attn.proj(a.transpose(1, 2).reshape(b, n, d))
        x = x + blk.mlp(blk.norm2(x))
    x = v.post_layernorm(x).view(b * n // 4, 4, d)
    k = v.downsample
    x = F.linear(x.transpose(1, 2).reshape(b * n // 4, d * 4), k.weight.reshape(k.weight.shape[0], -1), k.bias)
    return v.merger(x).view(b, n // 4, -1)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Full attention as two products: its backward is twice as fast here as the fused kernel's."""
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


def half(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)


def logits_at(model: Glm4vForConditionalGeneration, feats: torch.Tensor, ids: torch.Tensor, positions: torch.Tensor,
              wanted: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """Next-token logits of the whole model at the `wanted` places [B, L] of right-padded ids [B, L]."""
    lm = model.model.language_model
    x = lm.embed_tokens(ids)
    x = x.masked_scatter((ids == model.config.image_token_id)[..., None], feats.to(x.dtype))
    x = lm(inputs_embeds=x, position_ids=positions, use_cache=False).last_hidden_state
    return model.lm_head(x[wanted])


def check_equal(model: Glm4vForConditionalGeneration) -> float:
    """Largest difference between `vision` and transformers' own on random pictures of two grids."""
    worst = 0.0
    for h, w in ((84, 140), (56, 196)):
        img = torch.randint(0, 256, (2, h, w, 3), dtype=torch.uint8)
        x = patches(img)
        full = x.view(2, -1, 3, 1, 196).expand(-1, -1, 3, 2, 196).reshape(-1, 1176)
        grid = torch.tensor([[1, h // 14, w // 14]] * 2)
        with torch.no_grad():
            want = model.model.visual(full, grid_thw=grid).pooler_output
            got = vision(model.model.visual, x, h // 14, w // 14).flatten(0, 1)
        worst = max(worst, (want - got).abs().max().item())
    return worst
