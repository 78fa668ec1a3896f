"""Each full source and each published checkpoint, in its upstream layout, through `build` and `train`.

They lie on a Hub of the loopback interface, at the pinned commits, or in a user's folder; no other host is asked.
"""

import json
import os
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_store import Repo
from upstream import HEADS, counterpart, imitation, write
from upstream_data import UPSTREAM, pipeline_files

from mubench_hf.cli import dispatch
from mubench_hf.data.manifest import read_manifest
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import load_model
from mubench_hf.runs.record import load_record
from mubench_hf.tasks import get_task, list_tasks

pytestmark = pytest.mark.slow

PUBLISHED = [name for name in list_models() if get_model(name).published]
TASK_OF = {(get_task(name).modality, get_task(name).kind): name for name in reversed(list_tasks())}
COMMIT = "c0ffee" * 6 + "abcd"
"""Where no commit is pinned, that of the Hub's main branch."""

TRAIN = ["--max_steps", "2", "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1",
         "--disable_tqdm", "true", "--use_cpu", "true", "--seed", "5"]  # fmt: skip


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def everything_here(hub_here, monkeypatch, tmp_path):
    """The running Hub, for data sets too; caches are this test's own."""
    from mubench_hf.models import sources
    from mubench_hf.tasks import _commits

    monkeypatch.setattr("datasets.config.HF_ENDPOINT", hub_here.url)
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("huggingface_hub.hf_file_system.HfFileSystem._cache", {}, raising=False)
    monkeypatch.setattr(_commits, "_read", {})
    for cached in (_commits.dataset_commit, sources._fetched):
        cached.cache_clear()
    yield hub_here
    for cached in (_commits.dataset_commit, sources._fetched):
        cached.cache_clear()


def publish(hub, kind, name, files, commit, branches=None):
    repo = hub.repos[kind, name] = Repo([("0" * 40, {".gitattributes": b""}), (commit, files)])
    for number, (branch, content) in enumerate((branches or {}).items(), start=1):
        repo.tags[branch] = f"{number:040x}"
        repo.commits.insert(0, (repo.tags[branch], content))


def publish_model(hub, name, seed):
    spec = get_model(name)
    made = pipeline_files(seed) if spec.architecture.kind == "diffusion" else imitation(spec, seed)
    publish(hub, "model", spec.hub_id, made[0], spec.published.revision or COMMIT)
    return made[1]


@pytest.fixture(scope="module")
def mini_data(tmp_path_factory):
    """Return a folder with a task's mini data, built once."""
    built = {}

    def mini_data(task):
        if task not in built:
            built[task] = tmp_path_factory.mktemp(task)
            dispatch(["build", task, "--mini", "--out", str(built[task])])
        return built[task]

    return mini_data


def check_original(folder, spec, upstream, hub):
    """It began with the published weights, at that commit, and says so; its own processor is beside it."""
    record, commit = load_record(folder), spec.published.revision or COMMIT
    assert record.status == "ok" and record.base_model == spec.hub_id and record.base_revision == commit
    assert json.loads((folder / "recipe.json").read_text())["init_from"] == f"{spec.hub_id}@{commit}"
    model = load_model(folder, spec.architecture.auto_class)
    before = upstream.state_dict()
    trained = dict(getattr(model, "unet", model).named_parameters())
    found = {
        name: (weight, other)
        for name, weight in trained.items()
        if (other := counterpart(name, before)) is not None and not any(part in f"{name}." for part in HEADS)
    }
    assert len(found) > 0.75 * len(trained)
    far = [name for name, (weight, other) in found.items() if not torch.allclose(weight, other, atol=2e-2)]
    assert not far, "it is two small steps away from what was published"
    asked = [path for _, path in hub.requests]
    assert not [path for path in asked if "discussions" in path or "safety_checker/model" in path or "fp16" in path]
    if spec.name != "stable-diffusion-v1.4":
        return
    assert model.unet.config.sample_size == 8 and not [path for path in asked if path.endswith(".bin")]
    assert json.loads((folder / "preprocessor_config.json").read_text()) == {"image_size": 64}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_checkpoint_trains_an_original(name, everything_here, mini_data, rng):
    spec = get_model(name)
    task = TASK_OF[spec.architecture.modality, spec.architecture.kind]
    upstream = publish_model(everything_here, name, int(rng.integers(2**31)))
    out = mini_data(task)
    dispatch(["train", "--task", task, "--mini", "--model", name, "--out", str(out), *TRAIN])
    (folder,) = (out / "mubench").glob(f"{task}-mini-{name}-original-s5-x*")
    check_original(folder, spec, upstream, everything_here)


def small(task, monkeypatch):
    """Let a task's full source be of any rows: few of them have another deletion list than the published one."""
    module = import_module(f"mubench_hf.tasks.{task}")
    if task != "samsum":
        monkeypatch.setattr(module, "TASK", replace(module.TASK, full=replace(module.TASK.full, deletion_sha256=None)))
    return get_task(task)


def upstream_of(task):
    """What imitates a task's upstream files; that of a new task stands in its own test, as `upstream(rng)`."""
    if task in UPSTREAM:
        return UPSTREAM[task]
    file = Path(__file__).parent / "tasks" / f"test_{task}_task.py"
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.upstream


@pytest.mark.parametrize("task", list_tasks())
def test_every_full_source_is_built_and_trained_on(task, everything_here, rng, tmp_path, monkeypatch):
    hub, upstream, found = everything_here, upstream_of(task)(rng), small(task, monkeypatch)
    for repo, files in upstream.repos.items():
        pinned = found.full.revision if repo == found.full.hub_id else None
        pinned = pinned or getattr(import_module(f"mubench_hf.tasks.{task}"), "OOD_REVISION", COMMIT)
        publish(hub, "dataset", repo, files, pinned, upstream.branches.get(repo))
    raw = ["--raw", str(write(upstream.raw, tmp_path / "raw"))] if upstream.raw else []
    dispatch(["build", task, "--out", str(tmp_path), *raw])
    manifest = read_manifest(tmp_path / "mubench" / task / "mubench.json")
    read = found.full.revision or (f"{1:040x}" if task == "speech_commands" else None)
    assert manifest["upstream"] == {"id": found.full.hub_id, "revision": read, "raw": bool(raw)}

    spec = get_model(found.full.default_model)
    model = publish_model(hub, spec.name, int(rng.integers(2**31)))
    dispatch(["train", "--task", task, "--out", str(tmp_path), *TRAIN])
    (folder,) = (tmp_path / "mubench").glob(f"{task}-{spec.name}-original-s5-x*")
    check_original(folder, spec, model, hub)
    assert load_record(folder).data_fingerprint == manifest["fingerprint"]


def test_a_retrained_model_starts_where_its_original_did(everything_here, mini_data, rng):
    """No commit of this checkpoint is pinned: the one that was the newest then is named, and read again later."""
    hub, spec, out = everything_here, get_model("swin-base"), mini_data("cifar100")
    seeds = rng.integers(2**31, size=2).tolist()
    assert spec.published.revision is None
    first = publish_model(hub, spec.name, seeds[0])
    train = ["train", "--task", "cifar100", "--mini", "--model", spec.name, "--out", str(out), *TRAIN]
    dispatch([*train, "--learning_rate", "1e-7"])
    (original,) = (
        folder
        for folder in (out / "mubench").glob(f"*-{spec.name}-original-s5-x*")
        if load_record(folder).config["learning_rate"] == 1e-7
    )
    newer = hub.add("model", spec.hub_id, imitation(spec, seeds[1])[0])
    dispatch([*train, "--learning_rate", "1e-7"])  # It is finished, and stays what it was.
    assert load_record(original).base_revision == COMMIT != newer
    flags = ["--task", "cifar100", "--mini", "--out", str(out), "--base", str(original), "--seed", "5"]
    dispatch(["unlearn", *flags, "--method", "retrain", "--disable_tqdm", "true", "--use_cpu", "true"])
    (retrained,) = (out / "mubench").glob(f"*-{spec.name}-retrain-df5pct-s5-x*")
    assert load_record(retrained).config["init_from"] == f"{spec.hub_id}@{COMMIT}"
    model = load_model(retrained, spec.architecture.auto_class)
    before = first.swin.embeddings.patch_embeddings.projection.weight
    assert torch.allclose(model.swin.embeddings.patch_embeddings.projection.weight, before, atol=1e-4)
