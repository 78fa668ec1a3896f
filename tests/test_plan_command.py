"""``mubench plan``: what a run takes, and what would make it fit."""

import re

import pytest
import torch

from mubench_hf.cli import dispatch
from mubench_hf.commands.plan import memory_bytes
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.runs import memory

MINI = ["plan", "cifar100", "--mini"]


def planned(capsys, *argv):
    """Return what a command prints, and the sizes in it by name, in GiB."""
    dispatch([*MINI, *argv])
    text = capsys.readouterr().out
    sizes = re.findall(r"^\s+([a-z][a-z '0-9,]*?)\s{2,}([\d.,]+)\s*$", text, re.MULTILINE)
    return text, {name: float(size.replace(",", "")) for name, size in sizes}


@pytest.fixture
def in_bytes(monkeypatch):
    """Print bytes where GiB are printed, since a tiny model takes none of them."""
    monkeypatch.setattr("mubench_hf.commands.plan.GIB", 1)


def test_the_parts_add_up(capsys, in_bytes):
    text, parts = planned(capsys, "--method", "scrub")
    model = get_model("vit-tiny")
    weights = int(re.search(r"vit-tiny: ([\d,]+) weights", text)[1].replace(",", ""))
    with torch.device("meta"):
        from mubench_hf.models.loading import random_model

        known = sum(weight.numel() for weight in random_model(model).parameters())
    # The configuration alone has two classes; the task may be built, and then has ten.
    assert 0 <= weights - known < 1000
    assert parts["gradients"] == 4 * weights and 8 * weights <= parts["optimizer"] <= 8 * weights + 1000
    held = sum(
        size for name, size in parts.items() if name in ("weights", "gradients", "optimizer", "rows", "activations")
    )
    assert parts["peak"] == held
    # Weights and both moments.
    assert parts["a saved state"] >= 12 * weights


@pytest.mark.slow
def test_each_option_takes_what_it_should(capsys, in_bytes):
    _, plain = planned(capsys, "--method", "scrub")
    _, live = planned(capsys, "--method", "scrub", "--cache_teacher_outputs", "false")
    _, adapted = planned(
        capsys,
        "--method",
        "scrub",
        "--cache_teacher_outputs",
        "false",
        "--peft",
        "lora",
        "--peft_target_modules",
        "q_proj",
    )
    _, divided = planned(capsys, "--method", "scrub", "--processes", "2", "--sharding", "fsdp2")
    _, few = planned(capsys, "--method", "scrub", "--per_device_train_batch_size", "4")
    _, masked = planned(capsys, "--method", "salun")
    assert "original as teacher" not in plain and live["original as teacher"] >= live["gradients"]
    assert adapted["original as teacher"] < 0.1 * live["original as teacher"]
    assert adapted["gradients"] < 0.1 * plain["gradients"] and adapted["weights"] > plain["weights"]
    assert divided["optimizer"] == pytest.approx(plain["optimizer"] / 2, abs=1)
    assert few["activations"] < 0.5 * plain["activations"]
    assert any("mask" in name for name in masked)


def test_what_would_make_it_fit(capsys):
    dispatch([*MINI, "--method", "finetune", "--memory", "80GB"])
    assert "It fits into 80GB" in capsys.readouterr().out
    dispatch([*MINI, "--method", "finetune", "--memory", "1GB"])
    text = capsys.readouterr().out
    assert "It does not fit into 1GB" in text and "nothing that is known here" in text


@pytest.mark.slow
def test_fewer_rows_are_found(capsys, monkeypatch):
    monkeypatch.setattr(memory, "RESERVED", 0)
    dispatch([*MINI, "--method", "neggrad", "--memory", "2300KiB"])
    flags = re.search(
        r"--per_device_train_batch_size (\d+) --gradient_accumulation_steps (\d+)", capsys.readouterr().out
    )
    assert int(flags[1]) * int(flags[2]) == 32
    dispatch([*MINI, "--method", "neggrad", "--memory", "2300KiB", "--bf16", "--activation_checkpointing",
              *flags[0].split()])  # fmt: skip
    assert "It fits" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "size"), [("80GB", 80 * 10**9), ("24GiB", 24 * 2**30), ("1.5 tb", 15 * 10**11)])
def test_sizes(text, size):
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--memory", "much"], "give a size"),
        (["--memory", "0GB"], "give a size"),
        (["--processes", "0"], "at least 1"),
        (["--sharding", "fsdp2"], "Add --processes"),
        (["--sharding", "zero9"], "Allowed: ddp, fsdp2"),
        (["--base_type", "bfloat16"], "--peft lora"),
        (["--base_type", "int3", "--peft", "lora"], "Allowed: float32"),
        (["--device", "tpu"], "Allowed: gpu, cpu"),
        (["--classes", "0"], "at least 1"),
        (["--model", "vit-tny"], "vit-tiny"),
        (["--processes", "2", "--sharding", "fsdp2", "--peft", "lora"], "whole models"),
    ],
)
def test_refusals(flags, says, capsys):
    with pytest.raises(BadInput, match=re.escape(says)):
        dispatch([*MINI, "--method", "scrub", *flags])


def test_the_whole_models_of_references_are_not_adapted():
    with pytest.raises(BadInput, match="Leave --peft out"):
        dispatch([*MINI, "--method", "retrain", "--peft", "lora"])
