"""Tiny image-text models of two families with random weights: nothing is downloaded."""

import json
import re

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from robot_agent.models.vlm_question import SCORES, question_text

IMAGE = {"qwen": "<|image_pad|>", "llava": "<image>"}
AROUND = {"qwen": ("<|vision_start|>", "<|vision_end|>"), "llava": ("", "")}
SPECIAL = ("<pad>", "<unk>", "<end>", "<image>", "<|image_pad|>", "<|video_pad|>")
VISION = ("<|vision_start|>", "<|vision_end|>")


def _tokenizer(family):
    asked = question_text("open the drawer", 3, "", is_one_word=True)
    words = re.findall(r"\w+|[^\w\s]", asked + question_text("a", 2, "b", is_one_word=False))
    known = dict.fromkeys((*SPECIAL, *VISION, *SCORES, "Verdict", *words))
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    made.add_special_tokens({"additional_special_tokens": [*SPECIAL[3:], *VISION]})
    start, end = AROUND[family]
    made.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + start + IMAGE[family] + end + "{% else %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    return made


def write_vlm(folder, family):
    """Write a model as its family is published: configuration, safetensors, processor files."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(family)
    ids = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 2048, "eos_token_id": ids("<end>"), "pad_token_id": 0,
        "bos_token_id": ids("<end>"),
    }  # fmt: skip
    if family == "qwen":
        text["rope_parameters"] = {
            "rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4,
        }  # fmt: skip
        vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 14}
        config = Qwen2VLConfig(
            text_config=text, vision_config=vision, image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"), vision_start_token_id=ids(VISION[0]),
            vision_end_token_id=ids(VISION[1]),
        )  # fmt: skip
        model = Qwen2VLForConditionalGeneration(config)
        pictures = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=56 * 56)
        kind = {"processor_class": "Qwen2VLProcessor"}
    else:
        vision = CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
            image_size=28, patch_size=14,
        )  # fmt: skip
        config = LlavaConfig(
            vision_config=vision, text_config=LlamaConfig(**text),
            image_token_index=ids("<image>"), image_seq_length=4,
        )  # fmt: skip
        model = LlavaForConditionalGeneration(config)
        side = {"height": 28, "width": 28}
        pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=side)
        kind = {
            "processor_class": "LlavaProcessor", "patch_size": 14, "image_token": "<image>",
            "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default",
        }  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pictures.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(kind))
    return folder
