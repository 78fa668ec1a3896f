"""Fixtures that several folders share: one small benchmark, made once a session and process."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Each test process has one core: further threads of BLAS and torch would wait for each other, and burn the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported by now: accelerate calls it whenever a training ends."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def offline_env() -> dict[str, str]:
    """Environment of a child process that may not reach the Hub and finds this checkout."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}


QUICK = {
    "settings": {"num_train_epochs": 2, "learning_rate": 3e-4, "per_device_train_batch_size": 64, "cpu_threads": 1},
    "recipe": {"learning_rate": 2e-3},
    "presets": {},
}
"""Settings that make a whole benchmark in seconds; its scores mean nothing."""


def quicken() -> None:
    """Give the mini source of this process the quick settings."""
    from dataclasses import replace

    from mubench_hf.tasks import cifar100

    cifar100.TASK = replace(cifar100.TASK, mini=replace(cifar100.TASK.mini, **QUICK))


@pytest.fixture
def quick(monkeypatch) -> None:
    """Use the quick settings in one test."""
    from mubench_hf.tasks import cifar100

    monkeypatch.setattr(cifar100, "TASK", cifar100.TASK)
    quicken()


@pytest.fixture
def brought_is_forgotten(monkeypatch) -> None:
    """Forget, after one test, the methods, metrics, models and tasks that it brought to this process."""
    from mubench_hf.metrics import METRICS
    from mubench_hf.models.registry import MODELS
    from mubench_hf.tasks import TASKS
    from mubench_hf.trainers import METHODS

    for registry in (METHODS, METRICS, MODELS, TASKS):
        monkeypatch.setattr(registry, "_brought", dict(registry._brought))
        monkeypatch.setattr(registry, "_origins", dict(registry._origins))


def made_once(tmp_path_factory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that one test process makes, with the quick settings, and all of them read: they copy it."""
    from mubench_hf.tasks import cifar100

    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = out.with_suffix(".done")
    with FileLock(out.with_suffix(".lock")), pytest.MonkeyPatch.context() as patch:
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            patch.setattr(cifar100, "TASK", cifar100.TASK)
            quicken()
            make(out)
            done.touch()
    return out


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Path:
    """Folder with the mini data set and a quickly trained original."""
    from mubench_hf.cli import dispatch

    def make(out: Path) -> None:
        dispatch(["build", "cifar100", "--mini", "--out", str(out)])
        dispatch(["train", "--task", "cifar100", "--mini", "--out", str(out), "--disable_tqdm", "true"])

    return made_once(tmp_path_factory, "bench", make)


@pytest.fixture
def own_bench(bench, tmp_path) -> Path:
    """A copy of ``bench`` that a test may change."""
    return Path(shutil.copytree(bench, tmp_path / "bench"))


def quick_run(tmp_path_factory, name: str, **choice) -> Path:
    """Return the output folder of a quick run."""
    from mubench_hf.runs.pipeline import Pipeline

    return made_once(tmp_path_factory, name, lambda out: Pipeline("cifar100", variant="mini", out=out, **choice).run())


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Output folder of a quick run of one method over three seeds."""
    return quick_run(tmp_path_factory, "finished", methods=["finetune"])


@pytest.fixture(scope="session")
def every_method(tmp_path_factory) -> Path:
    """Output folder of a quick run of the paper's methods with seed 5."""
    return quick_run(tmp_path_factory, "every_method", seeds=[5])


@pytest.fixture
def hub():
    """An empty Hub on the loopback, running."""
    from hub import LoopbackHub

    with LoopbackHub().running() as running:
        yield running


@pytest.fixture
def hub_env(hub, tmp_path) -> dict[str, str]:
    """Environment of a child process whose Hub is the loopback one, with a writer's token and an empty cache."""
    from hub import WRITER

    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **env,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "empty-cache"),
        "HF_TOKEN": WRITER,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        # Whatever asks for another host finds nothing there.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture
def loopback_only(monkeypatch) -> None:
    """Let this process's client talk to the loopback, without a token, and to nothing else."""
    import socket

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    resolve = socket.getaddrinfo

    def only_here(host, *args, **kwargs):
        assert host == "127.0.0.1", f"a test asks for {host}"
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", only_here)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


@pytest.fixture
def hub_here(hub, loopback_only, tmp_path, monkeypatch):
    """The running Hub, which the client of this process fetches from, into an empty cache; it asks no other host."""
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)
    return hub
