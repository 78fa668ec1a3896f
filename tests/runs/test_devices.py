"""Everything that runs a model runs where a trainer would, and leaves no memory behind."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mubench_hf.demo.models import ASKS_FOR_GPU, ModelCache
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import device as devices
from mubench_hf.runs import pipeline as pipelines
from mubench_hf.runs.evaluate import measure_checkpoint
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.record import load_record
from mubench_hf.runs.setup import setup_of
from mubench_hf.runs.store import load_results
from mubench_hf.runs.train import load_rows
from mubench_hf.trainers import UnlearningTrainer

GPU = torch.device("cuda", 3)


@pytest.fixture
def gpu(monkeypatch):
    """Make this process believe that it runs on the fourth GPU; models that are moved there stay where they are."""
    moved = []

    def to(self, *args, _to=torch.nn.Module.to, **kwargs):
        if GPU in args or kwargs.get("device") == GPU:
            moved.append(weakref.ref(self))
            return self
        return _to(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    monkeypatch.setattr(devices, "PartialState", lambda cpu=False: SimpleNamespace(device=GPU))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, number {device.index}")
    return moved


def test_one_place_says_where_models_run(gpu, monkeypatch):
    assert devices.model_device() == GPU and devices.model_device(use_cpu=True) == torch.device("cpu")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert devices.model_device() == torch.device("cpu")


def test_a_process_takes_the_trainers_device():
    from transformers import TrainingArguments

    assert devices.model_device() == TrainingArguments("nowhere").device


@pytest.mark.parametrize("processes", [1, 2, 1000])
def test_processes_of_a_machine_share_its_cores(monkeypatch, processes):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(64))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert devices.usable_threads() == {1: 64, 2: 32, 1000: 1}[processes]


def measured(out, monkeypatch, **changes):
    """Measure the original of a finished run; return what was measured and what torch was told meanwhile."""
    folder = next((out / "mubench").glob("*-original-*"))
    record = load_record(folder)
    data = load_rows(setup_of(record, folder, out, None), folder)
    told = []

    def measure(model, *args, **kwargs):
        told.append((torch.get_num_threads(), torch.backends.cudnn.conv.fp32_precision))
        return {"answers": np.ones(3)}

    monkeypatch.setattr(get_measure("classification"), "measure", measure, raising=False)
    found = measure_checkpoint(folder, replace(record, hardware={**record.hardware, **changes}), data)
    return found, told[0]


def test_a_checkpoint_is_measured_on_the_device_exactly_and_its_name_is_kept(bench, gpu, monkeypatch):
    before = torch.get_num_threads(), torch.backends.cudnn.conv.fp32_precision
    found, told = measured(bench, monkeypatch)
    assert len(gpu) == 1 and gpu[0]() is None, "a model that was moved, and is gone"
    assert found.evaluated == {"device": "a GPU, number 3", "dtype": "float32"}
    assert told == (before[0], "ieee") and before[1] != "ieee"
    assert (torch.get_num_threads(), torch.backends.cudnn.conv.fp32_precision) == before


def test_on_a_cpu_threads_are_the_runs_own_unless_it_ran_elsewhere(bench, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("mubench_hf.models.device.usable_threads", lambda: 5)
    found, (threads, _) = measured(bench, monkeypatch, threads=3, device="cpu")
    assert threads == 3 and found.evaluated == {"device": "cpu", "dtype": "float32"}
    assert measured(bench, monkeypatch, threads=1, device="NVIDIA H100")[1][0] == 5


def test_the_demo_takes_the_cpu_unless_it_is_asked_not_to(gpu, monkeypatch):
    monkeypatch.delenv(ASKS_FOR_GPU, raising=False)
    assert ModelCache().device == torch.device("cpu")
    monkeypatch.setenv(ASKS_FOR_GPU, "1")
    cache = ModelCache()
    assert cache.device == GPU and cache.get("one", lambda: torch.nn.Linear(2, 2)) is gpu[0]()


@pytest.mark.slow
def test_of_a_run_nothing_is_left_when_it_is_evaluated_or_has_failed(quick, own_bench, monkeypatch):
    alive, evaluated = [], []

    def watched(self, *args, _train=UnlearningTrainer.train, **kwargs):
        found = _train(self, *args, **kwargs)
        held = [self, self.model, self.optimizer, *self.model.parameters(), *self.optimizer.state.values()]
        held += [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        held += [vars(self)[name].model for name in ("good", "bad", "teacher") if name in vars(self)]
        alive.extend(weakref.ref(each) for each in held if not isinstance(each, dict))
        alive.extend(weakref.ref(value) for each in held if isinstance(each, dict) for value in each.values())
        if self.key == "neggrad":
            raise RuntimeError("out of memory")
        return found

    def nothing_left(*args, _evaluate=pipelines.evaluate_checkpoint, **kwargs):
        evaluated.append(args[0])
        assert not [each() for each in alive if each() is not None]
        assert kwargs["device"] == torch.device("cpu")
        return _evaluate(*args, **kwargs)

    def nothing_left_to_say(*args, _failed=pipelines.save_failure, **kwargs):
        assert not [each() for each in alive if each() is not None]
        return _failed(*args, **kwargs)

    monkeypatch.setattr(UnlearningTrainer, "train", watched)
    monkeypatch.setattr(UnlearningTrainer, "_keeps_outputs", False)
    monkeypatch.setattr(pipelines, "evaluate_checkpoint", nothing_left)
    monkeypatch.setattr(pipelines, "save_failure", nothing_left_to_say)
    gc.collect()
    methods = ["bad_teaching", "neggrad"]
    results = Pipeline("cifar100", variant="mini", out=own_bench, methods=methods, seeds=[42], use_cpu=True).run()
    assert {result.method: result.status for result in results}["neggrad"] == "failed"
    assert len(alive) > 100 and len(evaluated) == 3
    kept = {result.method: result.evaluated for result in load_results(own_bench / "results")}
    assert kept["retrain"] == {"device": "cpu", "dtype": "float32"} and not kept["neggrad"]


@pytest.mark.gpu
def test_on_a_gpu_scores_are_those_of_a_cpu_but_for_rounding(bench):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    folder = next((bench / "mubench").glob("*-original-*"))
    record = load_record(folder)
    data = load_rows(setup_of(record, folder, bench, None), folder)
    on_gpu, on_cpu = (measure_checkpoint(folder, record, data, device=devices.model_device(cpu)) for cpu in (0, 1))
    assert on_gpu.evaluated["device"] == torch.cuda.get_device_name() and on_cpu.evaluated["device"] == "cpu"
    for name, values in on_cpu.outputs.items():
        np.testing.assert_allclose(on_gpu.outputs[name], values, rtol=1e-3, atol=1e-4)
