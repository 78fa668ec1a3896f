"""Fixtures that several folders share: one small benchmark, made once a session and process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")


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


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Path:
    """Folder with the mini data set and a quickly trained original. Tests do not change it: they copy it."""
    from mubench_hf.cli import dispatch
    from mubench_hf.tasks import cifar100

    out = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar100, "TASK", cifar100.TASK)
        quicken()
        dispatch(["build", "cifar100", "--mini", "--out", str(out)])
        dispatch(["train", "--task", "cifar100", "--mini", "--out", str(out), "--disable_tqdm", "true"])
    return out


@pytest.fixture
def own_bench(bench, tmp_path) -> Path:
    """A copy of ``bench`` that a test may change."""
    import shutil

    return Path(shutil.copytree(bench, tmp_path / "bench"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Output folder of a quick run of one method over three seeds. Tests do not change it: they copy it."""
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.tasks import cifar100

    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar100, "TASK", cifar100.TASK)
        quicken()
        Pipeline("cifar100", variant="mini", out=out, methods=["finetune"]).run()
    return out


@pytest.fixture(scope="session")
def every_method(tmp_path_factory) -> Path:
    """Output folder of a quick run of the paper's methods with seed 5. Tests do not change it: they copy it."""
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.tasks import cifar100

    out = tmp_path_factory.mktemp("every_method")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar100, "TASK", cifar100.TASK)
        quicken()
        Pipeline("cifar100", variant="mini", out=out, seeds=[5]).run()
    return out


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
