"""Every method on every way of training a model or a part of it: two steps, resume, save, load back as others would.

No cell is refused. What is refused of adapters, with the reason of each, is in `test_adapters.py`.
"""

from itertools import product

import numpy as np
import pytest
import torch
from adapted import ADAPTATIONS, FAMILIES, adapted, base, rows
from peft import PeftModel

from mubench_hf.trainers import get_method, list_methods

MODES = ("plain", "checkpointing", "bf16")
WHOLE = ("full", "frozen")
"""Ways of training whose checkpoint is the whole model."""

CELLS = list(product(list_methods(), ADAPTATIONS, FAMILIES, MODES))


def sample():
    """Return a few cells in which every method, adaptation, family and mode occurs, the same in every run."""
    length = max(len(list_methods()), len(ADAPTATIONS))
    walks = [[values[place % len(values)] for place in range(length)]
             for values in (list_methods(), list(ADAPTATIONS), FAMILIES, MODES)]  # fmt: skip
    return list(zip(*walks, strict=True))


def batch(family, given, dtype):
    """Return the inputs of some rows without their labels; a decoder starts with the row's own labels."""
    inputs = {name: torch.stack([torch.as_tensor(row[name]) for row in given]) for name in given[0] if name != "labels"}
    if family == "image":
        return {"pixel_values": inputs["pixel_values"].to(dtype)}
    if family == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([row["labels"] for row in given])
    return inputs


@torch.no_grad()
def logits(model, inputs):
    return model.eval()(**inputs).logits


def run_cell(method, how, family, mode, folder, seed):
    rng = np.random.default_rng(seed)
    dtype = torch.bfloat16 if mode == "bf16" else torch.float32
    forget, retain = rows(family, rng, 4), rows(family, rng, 6)
    if family == "image":
        for row in forget + retain:
            row["pixel_values"] = row["pixel_values"].to(dtype)
    base(family, seed, dtype).save_pretrained(folder / "base")
    kind = type(base(family, seed))
    trainer_class = get_method(method)

    def trainer(model):
        args = trainer_class.config_class(
            str(folder / "run"), max_steps=2, save_strategy="steps", save_steps=1, save_total_limit=2, use_cpu=True,
            cpu_threads=1, disable_tqdm=True, report_to="none", logging_strategy="no", learning_rate=0.01,
            per_device_train_batch_size=8, gradient_checkpointing=mode == "checkpointing", seed=seed % 1000,
        )  # fmt: skip
        return trainer_class(model, args, forget_dataset=forget, retain_dataset=retain)

    model = adapted(family, how, seed, start=kind.from_pretrained(folder / "base"))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    whole = trainer(model)
    whole.train()
    assert (whole.status, whole.state.global_step) == ("ok", 2)
    moved = {name for name, weight in model.named_parameters() if not weight.equal(before[name])}
    assert moved and moved <= {name for name, weight in model.named_parameters() if weight.requires_grad}

    resumed = trainer(adapted(family, how, seed, start=kind.from_pretrained(folder / "base")))
    resumed.train(resume_from_checkpoint=str(folder / "run" / "checkpoint-1"))
    assert resumed.state.global_step == 2
    other = resumed.model.state_dict()
    assert all(tensor.equal(other[name]) for name, tensor in model.state_dict().items())

    whole.save_model(folder / "saved")
    inputs = batch(family, forget + retain, dtype)
    want = logits(model, inputs)
    for name, loaded in loads(kind, how, folder).items():
        found = logits(loaded, inputs)
        if mode == "bf16" and name == ("peft" if how == "add_adapter" else "transformers") and how not in WHOLE:
            # Over bf16 weights `peft` computes an adapter in fp32, as it trained it, and `transformers` in bf16.
            assert (found - want).abs().max() <= 0.05 * want.abs().max(), name
        else:
            assert found.equal(want), name
    is_adapter = how not in WHOLE
    assert (folder / "saved" / "adapter_config.json").is_file() == is_adapter
    assert (folder / "saved" / "model.safetensors").is_file() != is_adapter


def loads(kind, how, folder):
    """Return the saved model as plain `transformers` and plain `peft` load it."""
    found = {"transformers": kind.from_pretrained(folder / "saved")}
    if how not in WHOLE:
        found["peft"] = PeftModel.from_pretrained(kind.from_pretrained(folder / "base"), folder / "saved")
    return found


@pytest.mark.parametrize(("method", "how", "family", "mode"), sample())
def test_a_cell_trains_resumes_and_comes_back(method, how, family, mode, tmp_path, rng):
    run_cell(method, how, family, mode, tmp_path, int(rng.integers(2**31)))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "how", "family", "mode"), [cell for cell in CELLS if cell not in sample()])
def test_every_other_cell_does_too(method, how, family, mode, tmp_path, rng):
    run_cell(method, how, family, mode, tmp_path, int(rng.integers(2**31)))
