"""Finished runs of every task, made in two steps each: what they say means nothing, and is measured as usual."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

STEPS = {"max_steps": 2, "per_device_train_batch_size": 8, "cpu_threads": 1, "save_strategy": "no"}


def run_quickly(task: str, out: Path, monkeypatch, methods=("finetune",), seeds=(7, 3), **settings) -> None:
    """Run the mini benchmark of a task with two steps a model, and images drawn in three."""
    from mubench_hf.runs.pipeline import Pipeline

    module = import_module(f"mubench_hf.tasks.{task}")
    mini = replace(module.TASK.mini, recipe=STEPS, presets=dict.fromkeys(methods, STEPS))
    monkeypatch.setattr(module, "TASK", replace(module.TASK, mini=mini))
    monkeypatch.setattr("mubench_hf.models.text_to_image.SAMPLING_STEPS", 3)
    Pipeline(task, variant="mini", out=out, methods=methods, seeds=seeds, **settings).run()


@pytest.fixture(scope="session", name="run_quickly")
def run_quickly_fixture():
    return run_quickly


@pytest.fixture(scope="session")
def cifar_out(tmp_path_factory) -> Path:
    """Output folder of a finished run of the first task."""
    out = tmp_path_factory.mktemp("cifar")
    with pytest.MonkeyPatch.context() as patch:
        run_quickly("cifar100", out, patch)
    return out


@pytest.fixture
def cifar(cifar_out):
    """What the demo shows of that run."""
    from mubench_hf.demo import DemoRuns

    return DemoRuns.local(cifar_out).bench("cifar100-mini", 5)
