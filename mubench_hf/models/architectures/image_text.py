"""Classifiers of an image pair and a text. Tiny configurations are for images of 32 pixels and short statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mubench_hf.models.architectures._parts import maker
from mubench_hf.models.architectures.text import tiny_tokenizer
from mubench_hf.models.registry import Architecture, Scale

VOCABULARY, TOKENS, PIXELS, PATCH = 128, 12, 32, 8


def tiny_vilt_config() -> Any:
    """Return a ViLT of about 110,000 weights for image pairs."""
    from transformers import ViltConfig

    return ViltConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=TOKENS,
        # Text, left image, right image.
        modality_type_vocab_size=3,
        num_images=2,
        image_size=PIXELS,
        patch_size=PATCH,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        # At the class's own 0.02 a model this narrow hardly leaves chance.
        initializer_range=0.1,
    )


def tiny_vilt_processor(texts: Sequence[str]) -> Any:
    """Return the processor of the tiny ViLT, its vocabulary made from ``texts``."""
    from transformers import ViltImageProcessorPil, ViltProcessor

    tokenizer = tiny_tokenizer(texts, VOCABULARY)
    tokenizer.model_max_length = TOKENS
    return ViltProcessor(ViltImageProcessorPil(size={"shortest_edge": PIXELS}, size_divisor=PATCH), tokenizer)


ARCHITECTURES = (
    Architecture(
        "vilt",
        "ViLT",
        modality="image pair and text",
        auto_class="ViltForImagesAndTextClassification",
        scales={
            "b32-nlvr2": Scale(
                "dandelin/vilt-b32-finetuned-nlvr2",
                113_962_754,
                "apache-2.0",
                # Text, left image, right image.
                {"modality_type_vocab_size": 3, "num_images": 2},
                pickled=True,
            )
        },
        config=maker("ViltConfig"),
        tiny_config=tiny_vilt_config,
        tiny_processor=tiny_vilt_processor,
    ),
)
