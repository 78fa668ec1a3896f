"""Video classifiers. They read 16 frames; the tiny configuration is for frames of 24 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mubench_hf.models.architectures._parts import HALF, IMAGENET, LARGE, maker, without_texts
from mubench_hf.models.registry import Architecture, Scale


def _published(
    scale: str, parameters: int, config: Mapping[str, int], revision: str | None = None, pickled: bool = False
) -> Scale:
    return Scale(f"MCG-NJU/videomae-{scale}", parameters, "cc-by-nc-4.0", config, revision, pickled=pickled)


def _processor(side: int, **values: Any) -> Any:
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return maker("VideoMAEImageProcessorPil", **size, **values)


ARCHITECTURES = (
    Architecture(
        "videomae",
        "VideoMAE",
        modality="video",
        auto_class="AutoModelForVideoClassification",
        # Trained to fill in masked frames, not to classify: published at all four scales, without a head.
        scales={
            "small": _published(
                "small", 21_880_706, {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
            ),
            "base": _published("base", 86_228_738, {}, "dc740ceda42fce44faed2ea03c6d447db72f6af9"),
            "large": _published("large", 303_862_786, LARGE),
            "huge": _published(
                "huge",
                631_609_602,
                {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
                pickled=True,
            ),
        },
        config=maker("VideoMAEConfig"),
        tiny_config=maker(
            "VideoMAEConfig",
            image_size=24,
            patch_size=8,
            num_frames=16,
            tubelet_size=4,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            # At the usual 0.02 a model this small does not learn the motion in a few epochs.
            initializer_range=0.1,
        ),
        tiny_processor=without_texts(_processor(24, **HALF)),
        real_processor=_processor(224, **IMAGENET),
    ),
)
