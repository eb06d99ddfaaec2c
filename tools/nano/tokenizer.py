"""The tokenizer, chat template and processor files of models/nano: a small byte-level BPE with GLM's special tokens."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import questions

# GLM-4.6V's added tokens, in its order. The second list is not flagged special there either.
SPECIAL = (
    "<|endoftext|> [MASK] [gMASK] [sMASK] <sop> <eop> <|system|> <|user|> <|assistant|> <|observation|> "
    "<|begin_of_image|> <|end_of_image|> <|begin_of_video|> <|end_of_video|> <|begin_of_audio|> <|end_of_audio|> "
    "<|begin_of_transcription|> <|end_of_transcription|>"
).split()
PLAIN = (
    "<|code_prefix|> <|code_middle|> <|code_suffix|> <think> </think> <tool_call> </tool_call> <tool_response> "
    "</tool_response> <arg_key> </arg_key> <arg_value> </arg_value> /nothink <|begin_of_box|> <|end_of_box|> "
    "<|image|> <|video|>"
).split()
BASE = 640  # byte and merged tokens; the added ones follow
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# The real model's prompt; only the default differs: thinking is off unless it is asked for.
TEMPLATE = """[gMASK]<sop>
{%- set thinking = enable_thinking is defined and enable_thinking -%}
{%- macro parts(content) -%}
  {%- if content is string -%}{{- content -}}
  {%- else -%}
    {%- for part in content -%}
      {%- if part.type == 'text' -%}{{- part.text -}}
      {%- elif part.type in ['image', 'image_url'] -%}<|begin_of_image|><|image|><|end_of_image|>
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {{- '<|system|>\\n' + parts(message.content) -}}
  {%- elif message.role == 'user' -%}
    {{- '<|user|>\\n' + parts(message.content) + ('' if thinking else '/nothink') -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<|assistant|>\\n<think></think>\\n' + parts(message.content) -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>\\n' + ('' if thinking else '<think></think>\\n') -}}
{%- endif -%}
"""


def corpus(rng: random.Random, n: int) -> list[str]:
    """Questions, answers and reasoning; printed words are left out so that they are spelt letter by letter."""
    out: list[str] = []
    for k in range(n):
        kind = questions.KINDS[k % 6]
        s, q, a = questions.case(rng, kind, 168, 168)
        out += [q, a] if s.text else [q, a, " " + a, questions.reasoning(s)]
    return out


def build(to: Path) -> PreTrainedTokenizerFast:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BASE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tok.train_from_iterator(corpus(random.Random(1), 4000), trainer)
    from tokenizers import AddedToken

    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    to.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(to)
    (to / "chat_template.jinja").write_text(TEMPLATE)
    (to / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Glm46VImageProcessor",
                "processor_class": "Glm46VProcessor",
                "do_convert_rgb": True,
                "do_resize": True,
                "size": {"shortest_edge": 12544, "longest_edge": 9633792},
                "resample": 3,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
                "patch_size": 14,
                "temporal_patch_size": 2,
                "merge_size": 2,
            },
            indent=2,
        )
        + "\n"
    )
    return fast


if __name__ == "__main__":
    fast = build(Path(sys.argv[1]))
    print(len(fast), fast.chat_template[:40])
    for text in ("What colour is the circle?", "A red star at the top left and a blue ring at the bottom.", "STOP 4071", "你好 🎉"):
        print(fast.convert_ids_to_tokens(fast(text).input_ids))
