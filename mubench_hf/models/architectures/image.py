"""Image classifiers. Tiny configurations are for images of 16 to 64 pixels, published ones for 224.

The ``Pil`` processors are the ones that need no torchvision.
"""

from __future__ import annotations

from typing import Any

from mubench_hf.models.architectures._parts import HALF, IMAGENET, LARGE, maker, without_texts
from mubench_hf.models.registry import Architecture, Scale

BICUBIC = 3


def _image(name: str, title: str, config: str, processor: Any, **values: Any) -> Architecture:
    return Architecture(
        name,
        title,
        modality="image",
        auto_class="AutoModelForImageClassification",
        config=maker(config),
        tiny_config=maker(config, **values.pop("tiny")),
        tiny_processor=without_texts(processor),
        **values,
    )


def _square(side: int, **values: Any) -> Any:
    return maker("ViTImageProcessorPil", size={"height": side, "width": side}, **values)


def _mobilenet(name: str, edge: int, side: int) -> Any:
    size, crop = {"shortest_edge": edge}, {"height": side, "width": side}
    return maker(f"{name}ImageProcessorPil", size=size, crop_size=crop, **HALF)


CONVNEXT_BASE = {"hidden_sizes": [128, 256, 512, 1024], "depths": [3, 3, 27, 3]}
CENTRE = maker("ConvNextImageProcessorPil", size={"shortest_edge": 224}, crop_pct=0.875, resample=BICUBIC, **IMAGENET)
# At 16 pixels the last stages see one pixel and over half of the gradients are exactly zero.
TINY_CENTRE = maker("ConvNextImageProcessorPil", size={"shortest_edge": 32}, crop_pct=1.0, **HALF)

ARCHITECTURES = (
    _image(
        "resnet",
        "ResNet",
        "ResNetConfig",
        TINY_CENTRE,
        scales={
            "18": Scale(
                "microsoft/resnet-18",
                11_177_538,
                "apache-2.0",
                {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
                revision="65a5785d9156231087c481e0c7dd33a5ff6f7e3e",
            ),
            "34": Scale(
                "microsoft/resnet-34",
                21_285_698,
                "apache-2.0",
                {"hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3], "layer_type": "basic"},
            ),
            "50": Scale(
                "microsoft/resnet-50", 23_512_130, "apache-2.0", revision="34c2154c194f829b11125337b98c8f5f9965ff19"
            ),
        },
        tiny={"embedding_size": 16, "hidden_sizes": [16, 32, 64], "depths": [1, 1, 1], "layer_type": "basic"},
        real_processor=CENTRE,
    ),
    _image(
        "vit",
        "ViT",
        "ViTConfig",
        _square(16, **HALF),
        scales={
            "base": Scale(
                "google/vit-base-patch16-224-in21k",
                85_800_194,
                "apache-2.0",
                revision="b4569560a39a0f1af58e3ddaf17facf20ab919b0",
            ),
            "large": Scale(
                "google/vit-large-patch16-224-in21k",
                303_303_682,
                "apache-2.0",
                LARGE,
                revision="6074eaf2211423e928c93b93ef773d5da618aa7e",
            ),
        },
        tiny={
            "image_size": 16,
            "patch_size": 4,
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 128,
        },
        real_processor=_square(224, **HALF),
    ),
    _image(
        "swin",
        "Swin",
        "SwinConfig",
        _square(16, **HALF),
        scales={
            "tiny": Scale(
                "microsoft/swin-tiny-patch4-window7-224",
                27_520_892,
                "apache-2.0",
                revision="d00d478bfaf1f417d34a1186673ad4b4be264c51",
            ),
            "base": Scale(
                "microsoft/swin-base-patch4-window7-224",
                86_745_274,
                "apache-2.0",
                {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
            ),
        },
        tiny={
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 24,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
            "mlp_ratio": 2.0,
            "drop_path_rate": 0.0,
        },
        real_processor=_square(224, resample=BICUBIC, **IMAGENET),
        tiny_scale="micro",
    ),
    _image(
        "convnext",
        "ConvNeXt",
        "ConvNextConfig",
        TINY_CENTRE,
        scales={
            "base": Scale("facebook/convnext-base-224", 87_568_514, "apache-2.0", CONVNEXT_BASE),
            "base-22k": Scale("facebook/convnext-base-224-22k", 87_568_514, "apache-2.0", CONVNEXT_BASE),
        },
        tiny={"patch_size": 2, "num_stages": 3, "hidden_sizes": [16, 32, 64], "depths": [1, 1, 1]},
        real_processor=CENTRE,
    ),
    # The config classes' own dropout, 0.999 and 0.8, is the share that was meant to be kept; the checkpoints' files
    # have said the same.
    _image(
        "mobilenet-v1",
        "MobileNet V1",
        "MobileNetV1Config",
        _mobilenet("MobileNetV1", 64, 64),
        scales={
            "1.0": Scale(
                "google/mobilenet_v1_1.0_224",
                3_209_026,
                "other",
                options={"classifier_dropout_prob": 0.001},
                pickled=True,
            ),
        },
        tiny={"image_size": 64, "depth_multiplier": 0.125, "classifier_dropout_prob": 0.001},
        real_processor=_mobilenet("MobileNetV1", 256, 224),
    ),
    _image(
        "mobilenet-v2",
        "MobileNet V2",
        "MobileNetV2Config",
        _mobilenet("MobileNetV2", 64, 64),
        scales={
            "1.0": Scale("google/mobilenet_v2_1.0_224", 2_226_434, "other", options={"classifier_dropout_prob": 0.2}),
        },
        tiny={"image_size": 64, "depth_multiplier": 0.125, "classifier_dropout_prob": 0.2},
        real_processor=_mobilenet("MobileNetV2", 256, 224),
    ),
)
