"""A Cosmos 3 pipeline with random weights, small enough for a test: nothing is downloaded."""

import torch
from diffusers import (
    AutoencoderKLWan,
    Cosmos3OmniPipeline,
    Cosmos3OmniTransformer,
    UniPCMultistepScheduler,
)
from diffusers.pipelines.cosmos import pipeline_cosmos3_omni
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_CHANNELS = 4
# Its smallest canvas has 256 pixels a side, which takes a second to encode; ours has 64.
pipeline_cosmos3_omni._ACTION_RESOLUTION_BINS["256"] = {"1.0": (64, 64)}


def _tokenizer():
    words = ["<unk>", "<end>", "<|vision_start|>", "open", "the", "drawer"]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<end>")
    made.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return made


def tiny_cosmos(action_gen=True):
    torch.manual_seed(3)
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * _CHANNELS,
        latents_std=[1.0] * _CHANNELS,
    )
    transformer = Cosmos3OmniTransformer(
        head_dim=16,
        hidden_size=32,
        intermediate_size=32,
        latent_channel=_CHANNELS,
        patch_latent_dim=4 * _CHANNELS,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        action_dim=12 if action_gen else None,
        action_gen=action_gen,
        rope_axes_dim=[4, 2, 2],
        vocab_size=16,
    )
    with torch.no_grad():  # louder than at birth, so that actions show in the pictures
        for parameter in transformer.parameters():
            parameter.normal_(std=0.3)
    return Cosmos3OmniPipeline(
        transformer=transformer.eval(),
        text_tokenizer=_tokenizer(),
        vae=vae.eval(),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        enable_safety_checker=False,
    )
