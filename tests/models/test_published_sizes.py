"""What the registry says of published checkpoints agrees with models made from its configurations."""

import pytest
import torch

from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import random_model

SPECS = map(get_model, list_models())
PUBLISHED = [spec.name for spec in SPECS if spec.hub_id and spec.architecture.kind != "diffusion"]
# As papers and model cards round them, whatever the head.
KNOWN = {
    "resnet-18": 11.2e6,
    "resnet-50": 23.5e6,
    "vit-large": 304e6,
    "swin-base": 87e6,
    "convnext-base": 88e6,
    "bert-base": 110e6,
    "bert-large": 335e6,
    "roberta-large": 355e6,
    "distilbert-base": 67e6,
    "deberta-v3-base": 184e6,
    "albert-base-v2": 11.7e6,
    "wav2vec2-base": 95e6,
    "wav2vec2-large": 317e6,
    "hubert-xlarge": 964e6,
    "videomae-base": 87e6,
    "videomae-huge": 633e6,
    "t5-v1.1-small": 77e6,
    "t5-v1.1-base": 248e6,
    "t5-v1.1-large": 783e6,
    "t5-v1.1-xl": 2.85e9,
    "t5-v1.1-xxl": 11.1e9,
    "llama-2-7b-chat": 6.74e9,
    "phi-1.5": 1.42e9,
    "zephyr-7b-beta": 7.24e9,
}


@pytest.fixture(autouse=True)
def no_position_table(monkeypatch):
    """VideoMAE's positions are no parameters, and are made number by number."""
    module = "transformers.models.videomae.modeling_videomae.get_sinusoid_encoding_table"
    monkeypatch.setattr(module, lambda rows, width: torch.zeros(1, rows, width))


def count(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters(name):
    spec = get_model(name)
    with torch.device("meta"):
        model = random_model(spec)
    assert count(model) == spec.published.parameters
    assert spec.architecture.kind != "classification" or model.config.num_labels == 2


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_the_known_ones(name):
    assert get_model(name).published.parameters == pytest.approx(KNOWN[name], rel=0.01)


@pytest.mark.parametrize("name", PUBLISHED)
def test_configurations_have_the_fields_of_their_scale(name):
    spec = get_model(name)
    config = spec.config().to_dict()
    for field, value in spec.published.config.items():
        if field != "tie_word_embeddings":  # T5's class keeps what it says under another name.
            assert config[field] == value, field
    assert not spec.published.config or config != spec.architecture.config().to_dict()


def test_t5_has_a_head_of_its_own():
    """As its checkpoints have, though the configuration class says that every T5 is tied; a tiny one is."""
    with torch.device("meta"):
        model = random_model(get_model("t5-v1.1-small"))
    assert model.lm_head.weight is not model.shared.weight
    assert model.shared.weight is model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight
    assert not model.config.scale_decoder_outputs
    tiny = random_model(get_model("t5-v1.1-tiny"))
    assert tiny.lm_head.weight is tiny.shared.weight
    model = random_model(get_model("t5-v1.1-tiny"), d_ff=64)
    assert count(model) < count(tiny)
