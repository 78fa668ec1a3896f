"""Text-to-image diffusion. The tiny one denoises the pixels of 8 x 8 images, the published one latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mubench_hf.models.architectures.text import tiny_tokenizer
from mubench_hf.models.registry import Architecture, Scale

SIDE, TOKENS, VOCABULARY, WIDTH = 8, 4, 128, 32

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""Noise schedule of the latent diffusion models."""


def published_config(image_size: int = 512) -> Any:
    """Return the configuration of Stable Diffusion v1.4; other fields of its parts are their classes' defaults.

    Args:
        image_size: Width and height of its images, in pixels: eight times those of the latents.
    """
    from mubench_hf.models.text_to_image import TextToImageConfig

    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return TextToImageConfig(
        unet={
            "sample_size": image_size // 8,
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
            "block_out_channels": (320, 640, 1280, 1280),
            "down_block_types": down,
            "up_block_types": up,
        },
        text_encoder={
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
        },
        vae={
            "sample_size": 512,
            "latent_channels": 4,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "scaling_factor": 0.18215,
        },
        scheduler={"num_train_timesteps": 1000, **BETAS},
        trains_text_encoder=False,
    )


def tiny_config() -> Any:
    """Return the configuration of a pixel diffusion model with about 370,000 weights, its text encoder trained too."""
    from mubench_hf.models.text_to_image import TextToImageConfig

    return TextToImageConfig(
        unet={
            "sample_size": SIDE,
            "in_channels": 3,
            "out_channels": 3,
            "layers_per_block": 1,
            "block_out_channels": (32, 32),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": WIDTH,
            "norm_num_groups": 8,
            "attention_head_dim": 8,
        },
        text_encoder={
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "max_position_embeddings": TOKENS,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
        scheduler={"num_train_timesteps": 200, "beta_schedule": "squaredcos_cap_v2"},
    )


def tiny_processor(texts: Sequence[str]) -> Any:
    """Return the processor of the tiny model, its vocabulary made from ``texts``."""
    from mubench_hf.models.prompt_processor import PromptProcessor

    tokenizer = tiny_tokenizer(texts, VOCABULARY)
    tokenizer.model_max_length = TOKENS
    return PromptProcessor(tokenizer, SIDE)


ARCHITECTURES = (
    Architecture(
        "stable-diffusion",
        "Stable Diffusion",
        modality="prompt and image",
        kind="diffusion",
        auto_class="mubench_hf.models.text_to_image:TextToImage",
        processor_class="mubench_hf.models.prompt_processor:PromptProcessor",
        scales={
            "v1.4": Scale(
                "CompVis/stable-diffusion-v1-4",
                1_066_235_307,
                "creativeml-openrail-m",
                revision="133a221b8aa7292a167afc5127cb63fb5005638b",
                # As the reference trains it, on Tiny ImageNet's own size; it was made for 512.
                options={"image_size": 64},
                processor_options={"image_size": 64},
            )
        },
        config=published_config,
        tiny_config=tiny_config,
        tiny_processor=tiny_processor,
    ),
)
