"""Which kind a model is of."""

import pytest
from peft import LoraConfig, get_peft_model

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind, kind_of, list_kinds
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model
from mubench_hf.tasks import get_task, list_tasks

TINY = [name for name in list_models() if get_model(name).hub_id is None]


def test_every_task_is_of_a_kind():
    assert {get_task(name).kind for name in list_tasks()} == set(list_kinds())


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


def test_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(BadInput, match="Did you mean 'seq2seq'"):
        get_kind("seq2sec")
