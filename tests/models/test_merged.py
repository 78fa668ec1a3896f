"""Adapters merged into their base: the same answers, and the base's own weights can be trained."""

import numpy as np
import pytest
import torch
from adapted import base

from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.loading import load_model
from mubench_hf.models.merged import load_merged


@pytest.mark.parametrize("kind", ["lora", "ia3", "layernorm"])
def test_a_merged_model_answers_alike_and_is_trained_whole(kind, tmp_path):
    seed = int(np.random.default_rng().integers(1000))
    base("causal", seed).save_pretrained(tmp_path / "base")
    adapted = AdapterSettings(kind).add_to(load_model(tmp_path / "base", "AutoModelForCausalLM"), seed)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.normal_(1, 0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    whole, merged = load_merged(tmp_path / "adapter", "AutoModelForCausalLM")
    plain, not_merged = load_merged(tmp_path / "base", "AutoModelForCausalLM")
    assert (merged, not_merged) == (True, False)
    inputs = torch.randint(3, 60, (2, 5), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        answers = [model.eval()(input_ids=inputs).logits for model in (adapted, whole, plain)]
    assert torch.allclose(answers[0], answers[1], atol=1e-4)
    assert not torch.allclose(answers[1], answers[2], atol=1e-2)
    assert [*dict(whole.named_parameters())] == [*dict(plain.named_parameters())]
    assert all(weight.requires_grad for weight in whole.parameters())
