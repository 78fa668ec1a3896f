"""Video classifiers. They read 16 frames; the tiny configuration is for frames of 24 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mubench_hf.models.registry import Architecture


def _tiny_config() -> Any:
    from transformers import VideoMAEConfig

    return VideoMAEConfig(
        image_size=24,
        patch_size=8,
        num_frames=16,
        tubelet_size=4,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        # At the usual 0.02 a model this small does not get to the motion in a few epochs.
        initializer_range=0.1,
    )


def _tiny_processor(texts: Sequence[str]) -> Any:
    from transformers import VideoMAEImageProcessorPil

    half, size = [0.5, 0.5, 0.5], {"height": 24, "width": 24}
    return VideoMAEImageProcessorPil(size={"shortest_edge": 24}, crop_size=size, image_mean=half, image_std=half)


ARCHITECTURES = (
    Architecture(
        "videomae",
        "VideoMAE",
        modality="video",
        auto_class="AutoModelForVideoClassification",
        # The checkpoints that were published at all four scales; their head for Kinetics is replaced.
        scales={
            "small": "MCG-NJU/videomae-small-finetuned-kinetics",
            "base": "MCG-NJU/videomae-base-finetuned-kinetics",
            "large": "MCG-NJU/videomae-large-finetuned-kinetics",
            "huge": "MCG-NJU/videomae-huge-finetuned-kinetics",
        },
        tiny_config=_tiny_config,
        tiny_processor=_tiny_processor,
    ),
)
