"""Image classifiers. Tiny configurations are for images of 16 to 64 pixels.

Configurations and processors are imported when made, so that listing models does not import torch. The ``Pil``
processors are the ones that need no torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mubench_hf.models.registry import Architecture

HALF = [0.5, 0.5, 0.5]


def _config(name: str, **values: Any) -> Any:
    import transformers

    return getattr(transformers, name)(**values)


def _processor(name: str, size: dict[str, int], texts: Sequence[str], **values: Any) -> Any:
    import transformers

    return getattr(transformers, name)(size=size, image_mean=HALF, image_std=HALF, **values)


def _image(*args: Any, **values: Any) -> Architecture:
    return Architecture(*args, modality="image", auto_class="AutoModelForImageClassification", **values)


ARCHITECTURES = (
    _image(
        "resnet",
        "ResNet",
        scales={"18": "microsoft/resnet-18", "34": "microsoft/resnet-34", "50": "microsoft/resnet-50"},
        tiny_config=partial(
            _config, "ResNetConfig", embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic"
        ),
        # At 16 pixels the last stages see one pixel and over half of the gradients are exactly zero.
        tiny_processor=partial(_processor, "ConvNextImageProcessorPil", {"shortest_edge": 32}, crop_pct=1.0),
    ),
    _image(
        "vit",
        "ViT",
        scales={"base": "google/vit-base-patch16-224", "large": "google/vit-large-patch16-224"},
        tiny_config=partial(
            _config,
            "ViTConfig",
            image_size=16,
            patch_size=4,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
        ),
        tiny_processor=partial(_processor, "ViTImageProcessorPil", {"height": 16, "width": 16}),
    ),
    _image(
        "swin",
        "Swin",
        scales={
            "tiny": "microsoft/swin-tiny-patch4-window7-224",
            "base": "microsoft/swin-base-patch4-window7-224",
        },
        tiny_config=partial(
            _config,
            "SwinConfig",
            image_size=16,
            patch_size=2,
            embed_dim=24,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
            mlp_ratio=2.0,
            drop_path_rate=0.0,
        ),
        tiny_processor=partial(_processor, "ViTImageProcessorPil", {"height": 16, "width": 16}),
        tiny_scale="micro",
    ),
    _image(
        "convnext",
        "ConvNeXt",
        scales={"base": "facebook/convnext-base-224", "base-22k": "facebook/convnext-base-224-22k"},
        tiny_config=partial(
            _config, "ConvNextConfig", patch_size=2, num_stages=3, hidden_sizes=[16, 32, 64], depths=[1, 1, 1]
        ),
        tiny_processor=partial(_processor, "ConvNextImageProcessorPil", {"shortest_edge": 32}, crop_pct=1.0),
    ),
    _image(
        "mobilenet-v1",
        "MobileNet V1",
        scales={"1.0": "google/mobilenet_v1_1.0_224"},
        # The class's own dropout, 0.999, is the share that was meant to be kept.
        tiny_config=partial(
            _config, "MobileNetV1Config", image_size=64, depth_multiplier=0.125, classifier_dropout_prob=0.001
        ),
        tiny_processor=partial(
            _processor, "MobileNetV1ImageProcessorPil", {"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
        ),
    ),
    _image(
        "mobilenet-v2",
        "MobileNet V2",
        scales={"1.0": "google/mobilenet_v2_1.0_224"},
        # Likewise 0.8.
        tiny_config=partial(
            _config, "MobileNetV2Config", image_size=64, depth_multiplier=0.125, classifier_dropout_prob=0.2
        ),
        tiny_processor=partial(
            _processor, "MobileNetV2ImageProcessorPil", {"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
        ),
    ),
)
