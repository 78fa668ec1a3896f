"""Which models there are, and how one is asked for."""

import dataclasses
import subprocess
import sys

import pytest

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model, list_models

PUBLISHED = """
resnet-18 microsoft/resnet-18
resnet-34 microsoft/resnet-34
resnet-50 microsoft/resnet-50
vit-base google/vit-base-patch16-224-in21k
vit-large google/vit-large-patch16-224-in21k
swin-tiny microsoft/swin-tiny-patch4-window7-224
swin-base microsoft/swin-base-patch4-window7-224
convnext-base facebook/convnext-base-224
convnext-base-22k facebook/convnext-base-224-22k
mobilenet-v1-1.0 google/mobilenet_v1_1.0_224
mobilenet-v2-1.0 google/mobilenet_v2_1.0_224
bert-base google-bert/bert-base-uncased
bert-large google-bert/bert-large-uncased
roberta-base FacebookAI/roberta-base
roberta-large FacebookAI/roberta-large
distilbert-base distilbert/distilbert-base-uncased
electra-base google/electra-base-discriminator
deberta-v3-base microsoft/deberta-v3-base
albert-base-v2 albert/albert-base-v2
biobert-v1.1 dmis-lab/biobert-v1.1
biomedbert-abstract microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract
biomedbert-fulltext microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext
vilt-b32-nlvr2 dandelin/vilt-b32-finetuned-nlvr2
wav2vec2-base facebook/wav2vec2-base
wav2vec2-large facebook/wav2vec2-large
hubert-base facebook/hubert-base-ls960
hubert-large facebook/hubert-large-ll60k
hubert-xlarge facebook/hubert-xlarge-ll60k
whisper-tiny openai/whisper-tiny
whisper-base openai/whisper-base
whisper-small openai/whisper-small
videomae-small MCG-NJU/videomae-small
videomae-base MCG-NJU/videomae-base
videomae-large MCG-NJU/videomae-large
videomae-huge MCG-NJU/videomae-huge
t5-v1.1-small google/t5-v1_1-small
t5-v1.1-base google/t5-v1_1-base
t5-v1.1-large google/t5-v1_1-large
t5-v1.1-xl google/t5-v1_1-xl
t5-v1.1-xxl google/t5-v1_1-xxl
llama-2-7b-chat NousResearch/Llama-2-7b-chat-hf
phi-1.5 microsoft/phi-1_5
zephyr-7b-beta HuggingFaceH4/zephyr-7b-beta
"""
READ_BY = {
    ("classification", "image"): ["resnet", "vit", "swin", "convnext", "mobilenet-v1", "mobilenet-v2"],
    ("classification", "text"): [
        "bert", "roberta", "distilbert", "electra", "deberta-v3", "albert", "biobert", "biomedbert"
    ],
    ("classification", "image pair and text"): ["vilt"],
    ("classification", "audio"): ["wav2vec2", "hubert", "whisper"],
    ("classification", "video"): ["videomae"],
    ("seq2seq", "text"): ["t5-v1.1"],
    ("causal_lm", "text"): ["llama-2", "phi", "zephyr"],
}  # fmt: skip
KINDS = {"classification", "seq2seq", "causal_lm", "diffusion"}
LICENCES = {"apache-2.0", "mit", "other", "cc-by-nc-4.0", "llama2", "creativeml-openrail-m", "unknown"}


def test_checkpoints():
    expected = dict(line.split() for line in PUBLISHED.split("\n") if line)
    assert {name: get_model(name).hub_id for name in expected} == expected
    left = {name for name in list_models() if get_model(name).hub_id} - set(expected)
    assert {get_model(name).architecture.kind for name in left} <= {"diffusion"}


def test_enough_architectures_and_scales():
    published = [get_model(name) for name in list_models() if get_model(name).hub_id]
    assert len({spec.architecture.name for spec in published}) >= 23 and len(published) >= 43


@pytest.mark.parametrize("how", READ_BY, ids=" ".join)
def test_architectures_are_with_their_kind(how):
    found = [get_model(name).architecture for name in list_models()]
    assert list(dict.fromkeys(each.name for each in found if (each.kind, each.modality) == how)) == READ_BY[how]


@pytest.mark.parametrize("name", list_models())
def test_every_model_says_what_it_is(name):
    spec = get_model(name)
    assert spec.architecture.kind in KINDS
    if spec.published is None:
        assert spec.hub_id is None and spec.scale == spec.architecture.tiny_scale
        return
    assert spec.published is spec.architecture.scales[spec.scale]
    assert spec.hub_id.count("/") == 1 and spec.published.parameters > 1e6 and spec.published.licence in LICENCES


def test_processors_of_real_size():
    """Those that need no vocabulary are made offline; the others are left to the Hub."""
    offline = {get_model(name).architecture.modality for name in list_models()
               if get_model(name).architecture.real_processor}  # fmt: skip
    assert offline == {"image", "audio", "video"}


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
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.published.parameters = 1
    with pytest.raises(TypeError):
        get_model("vit-large").published.config["hidden_size"] = 8


def test_configurations_are_new_each_time():
    """Whoever changes one does not change the registry."""
    for name in ("swin-base", "swin-micro"):
        spec = get_model(name)
        spec.config().depths.append(1)
        assert len(spec.config().depths) == len(spec.config().num_heads)


def test_listing_imports_no_torch(offline_env):
    code = "import sys; from mubench_hf.models import list_models; list_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
