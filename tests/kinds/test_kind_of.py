"""Which kind a model is of, and which kinds there are."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.kinds import Kind, get_kind, kind_of, list_kinds
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model
from mubench_hf.tasks import get_task, list_tasks


def test_generators_of_text_are_told_apart(world, seq2seq_world, causal_world, bart_world):
    assert kind_of(world.original()) is world.kind
    assert kind_of(seq2seq_world.original()) is kind_of(bart_world.original()) is get_kind("seq2seq")
    assert kind_of(causal_world.original()) is get_kind("causal_lm")


@pytest.mark.parametrize(
    ("model", "config"), [(ViTForImageClassification, ViTConfig), (BertForSequenceClassification, BertConfig)]
)
def test_classifiers_are_classifiers(model, config):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    made = model(config(**sizes))
    assert kind_of(made) is get_kind("classification")
    assert not any(get_kind(name).reads(made) for name in ("seq2seq", "causal_lm"))


def test_what_kinds_say_of_themselves():
    assert {"causal_lm", "classification", "seq2seq"} <= set(list_kinds())
    for name in list_kinds():
        kind = get_kind(name)
        assert isinstance(kind, Kind) and kind is get_kind(name)
        assert kind.label_is_class is (name == "classification")
        assert kind.keeps_outputs is kind.of_problem, "logits of a row, not of its positions"
    with pytest.raises(BadInput, match="Did you mean 'seq2seq'"):
        get_kind("seq2sek")


def test_a_class_is_never_drawn_as_its_own_other(rng):
    kind, labels = get_kind("classification"), rng.integers(5, size=4000)
    drawn = kind.draw_targets(rng.random(4000) < 0.3, 5, rng)
    other = [
        kind.retarget({"labels": int(label)}, int(at), None, 5)["labels"]
        for label, at in zip(labels, drawn, strict=True)
    ]
    assert not (labels == other).any()
    counts = torch.bincount(torch.tensor((other - labels) % 5), minlength=5)[1:]
    assert counts.min() > 850, "each of the four others a thousand times, but for chance"
    with pytest.raises(BadInput, match="none of labels"):
        kind.retarget({"pixel_values": 0}, 1, None, 5)


TINY = [name for name in list_models() if get_model(name).hub_id is None]


def test_every_task_is_of_a_kind():
    assert {get_task(name).kind for name in list_tasks()} <= set(list_kinds())


@pytest.mark.parametrize("name", TINY)
def test_a_model_says_its_kind(name):
    spec = get_model(name)
    assert kind_of(fresh_model(spec, list("abc"), 0)) is get_kind(spec.architecture.kind)


@pytest.mark.parametrize("name", ["t5-v1.1-tiny", "llama-2-tiny", "bert-tiny"])
def test_adapters_change_no_kind(name):
    spec = get_model(name)
    targets = {"t5-v1.1-tiny": ["q", "v"], "llama-2-tiny": ["q_proj"], "bert-tiny": ["query"]}[name]
    adapted = get_peft_model(fresh_model(spec, list("abc"), 0), LoraConfig(target_modules=targets, r=2))
    assert kind_of(adapted) is get_kind(spec.architecture.kind)


@pytest.mark.parametrize(
    "name", [name for name in list_kinds() if name not in {get_task(each).kind for each in list_tasks()}]
)
def test_a_kind_without_scores_says_so(name):
    with pytest.raises(BadInput, match=f"^Models of the kind {name} can be trained, but there are no scores"):
        get_measure(name)


def test_every_kind_is_documented():
    lines = (Path(__file__).parents[2] / "docs" / "kinds.md").read_text().splitlines()
    tables = [line.split("|")[1].strip().strip("`") for line in lines if line.startswith("| `")]
    assert sorted(tables[: len(list_kinds())]) == list_kinds()
