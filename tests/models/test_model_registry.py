"""Which models there are, and how one is asked for."""

import dataclasses
import subprocess
import sys

import pytest

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model, list_models

PUBLISHED = {
    "resnet-18": "microsoft/resnet-18",
    "resnet-34": "microsoft/resnet-34",
    "resnet-50": "microsoft/resnet-50",
    "vit-base": "google/vit-base-patch16-224",
    "vit-large": "google/vit-large-patch16-224",
    "swin-tiny": "microsoft/swin-tiny-patch4-window7-224",
    "swin-base": "microsoft/swin-base-patch4-window7-224",
    "convnext-base": "facebook/convnext-base-224",
    "convnext-base-22k": "facebook/convnext-base-224-22k",
    "mobilenet-v1-1.0": "google/mobilenet_v1_1.0_224",
    "mobilenet-v2-1.0": "google/mobilenet_v2_1.0_224",
}
TINY = {"resnet-tiny", "vit-tiny", "swin-micro", "convnext-tiny", "mobilenet-v1-tiny", "mobilenet-v2-tiny"}


def test_image_models():
    image = {name: get_model(name) for name in list_models() if get_model(name).architecture.modality == "image"}
    assert {name: spec.hub_id for name, spec in image.items() if spec.hub_id} == PUBLISHED
    assert {name for name, spec in image.items() if not spec.hub_id} == TINY
    assert len(image) == 17


def test_every_name_is_its_models():
    assert len(set(list_models())) == len(list_models())
    for name in list_models():
        spec = get_model(name)
        assert spec.name == name == f"{spec.architecture.name}-{spec.scale}"
    for architecture in {get_model(name).architecture.name for name in list_models()}:
        tiny = [name for name in list_models() if get_model(name).architecture.name == architecture]
        assert [get_model(name).hub_id for name in tiny].count(None) == 1, "one tiny scale each"


@pytest.mark.parametrize(
    ("found", "near"),
    [("vit-bas", "vit-base"), ("ViT-Tiny", "vit-tiny"), ("resnet18", "resnet-18"), ("swin-mirco", "swin-micro")],
)
def test_nearest_name(found, near):
    with pytest.raises(BadInput) as error:
        get_model(found)
    assert str(error.value).startswith(f"Unknown model {found!r}. Did you mean {near!r}?")
    assert all(name in str(error.value) for name in list_models())


def test_a_name_far_from_all_suggests_nothing():
    with pytest.raises(BadInput, match=r"^Unknown model '123'\. Allowed: "):
        get_model("123")


def test_a_model_cannot_be_changed():
    spec = get_model("vit-base")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.hub_id = "other"
    with pytest.raises(TypeError):
        spec.architecture.scales["base"] = "other"


def test_listing_imports_no_torch(offline_env):
    code = "import sys; from mubench_hf.models import list_models; list_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
