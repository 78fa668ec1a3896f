"""Which finished runs there are to show, in a folder and on a Hub."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
from made_up import made_up
from unsealed import unsealed

from mubench_hf.demo import DemoRuns
from mubench_hf.errors import BadInput
from mubench_hf.hub import dataset_bundle, model_bundle
from mubench_hf.hub.retries import Retries
from mubench_hf.runs.store import save_result
from mubench_hf.tasks import get_task


def result(method="scrub", seed=42, del_ratio=5, **fields):
    """Return a made-up result of the mini CIFAR-100."""
    return replace(made_up(method)[1], seed=seed, del_ratio=del_ratio, **fields)


def folder_of(out, *results):
    for each in results:
        save_result(each, out / "results")
    return out


def test_methods_stand_references_first_each_with_the_originals_seed(tmp_path):
    names = ["scrub", "retrain", "finetune", "original", "bad_teaching"]
    results = [result(name, seed) for name in names for seed in ((42,) if name == "original" else (87, 42, 21))]
    results += [result("neggrad", seed) for seed in (87, 21)]
    failed = {"status": "failed", "status_reason": "out of memory", "scores": {}, "reasons": {}}
    results += [result("salun", 42, **failed), result("rand_label", 42, **failed), result("rand_label", 87)]
    runs = DemoRuns.local(folder_of(tmp_path, *results))
    assert runs.tasks() == ["cifar100-mini"] and runs.ratios("cifar100-mini") == [5]
    shown = ["original", "retrain", "bad_teaching", "finetune", "neggrad", "rand_label", "scrub"]
    assert runs.methods("cifar100-mini", 5) == shown
    seeds = {name: run.result.seed for name, run in runs._shown("cifar100-mini", 5).items()}
    assert seeds == {**dict.fromkeys(shown, 42), "neggrad": 21, "rand_label": 87}
    assert len(runs.results("cifar100-mini", 5)) == len(results)


def test_tasks_in_folders_of_their_own(tmp_path):
    for name in ("imdb", "cifar100"):
        for source in ("mini", "full"):
            folder_of(tmp_path / f"{name}-{source}", made_up("original", name, source)[1])
    folder_of(tmp_path / "without-original", made_up("scrub", "samsum")[1])
    (tmp_path / "empty" / "results").mkdir(parents=True)
    runs = DemoRuns.local(tmp_path)
    assert runs.tasks() == ["cifar100", "cifar100-mini", "imdb", "imdb-mini"]
    titles = [runs.bench(task, 5).title for task in runs.tasks()]
    assert [title.split(" · ")[0] for title in titles] == [
        "CIFAR-100", "CIFAR-100-mini (not CIFAR-100)", "IMDb", "IMDb-mini (not IMDb)"
    ]  # fmt: skip


def test_models_are_told_apart(tmp_path):
    vit, swin = result("original"), made_up("original", model="swin-tiny")[1]
    runs = DemoRuns.local(folder_of(tmp_path, vit, swin))
    assert runs.tasks() == ["cifar100-mini-swin-tiny", "cifar100-mini-vit-tiny"]
    assert "swin-tiny" in runs.bench("cifar100-mini-swin-tiny", 5).title


def test_ratios_share_an_original(tmp_path):
    runs = DemoRuns.local(folder_of(tmp_path, result("original"), result("scrub", del_ratio=2), result("scrub")))
    assert runs.ratios("cifar100-mini") == [2, 5]
    assert runs.methods("cifar100-mini", 2) == runs.methods("cifar100-mini", 5) == ["original", "scrub"]
    assert runs.bench("cifar100-mini", 2) is runs.bench("cifar100-mini", 2)
    assert "2% deleted" in runs.bench("cifar100-mini", 2).title
    with pytest.raises(BadInput, match="no runs of cifar100-mini at 3 %. Allowed: 2 %, 5 %"):
        runs.bench("cifar100-mini", 3)
    with pytest.raises(BadInput, match="Did you mean 'cifar100-mini'"):
        runs.methods("cifar10", 5)


@pytest.mark.parametrize("make", [lambda out: None, lambda out: folder_of(out, result("scrub")), shutil.rmtree])
def test_a_folder_without_an_original_says_what_to_run(tmp_path, make):
    make(tmp_path)
    with pytest.raises(BadInput, match="holds no finished run. Run: mubench run cifar100 --mini --out"):
        DemoRuns.local(tmp_path)


# On a Hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def loopback(hub_here, tmp_path, monkeypatch):
    """The loopback as this process's Hub, with empty folders for what comes from it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", hub_here.url)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return hub_here


def publish(hub, out):
    """Store the data set and all checkpoints of an output folder, as publishing sends them."""
    folders = sorted((out / "mubench").glob("*-vit-tiny*"))
    data = dataset_bundle(get_task("cifar100"), variant="mini", out=out)
    for bundle in (data, *map(model_bundle, folders)):
        files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
        hub.add(bundle.kind, bundle.repo_id, files)


@pytest.mark.slow
def test_published_runs_say_what_local_ones_do(loopback, cifar_out):
    publish(loopback, cifar_out)
    tagged = b"---\ntags: [machine-unlearning]\n---\n"
    loopback.add("model", "mubench/a-card-alone", {"README.md": tagged})
    loopback.add("model", "mubench/broken", {"README.md": tagged, "run_result.json": b"{}"})
    runs, local = DemoRuns.hub(), DemoRuns.local(cifar_out)
    assert not [path for _, path in loopback.requests if path.endswith((".safetensors", ".npz"))], (
        "not before it is shown"
    )
    assert runs.tasks() == local.tasks() == ["cifar100-mini"]
    assert runs.results("cifar100-mini", 5) == local.results("cifar100-mini", 5)
    loopback.add("model", "mubench/cifar100-mini-vit-tiny-finetune-df5pct-s3", {"model.safetensors": b"changed since"})
    bench, other = runs.bench("cifar100-mini", 5), local.bench("cifar100-mini", 5)
    for method in runs.methods("cifar100-mini", 5):
        sample = bench.sample("forget", 7)
        assert bench.answer(method, sample) == other.answer(method, other.sample("forget", 7))
    asked = len(loopback.requests)
    assert bench.answer("retrain", bench.sample("test", 3)).probabilities and len(loopback.requests) == asked
    fetched = [path for _, path in loopback.requests if path.endswith("model.safetensors")]
    assert fetched and not any("/main/" in path for path in fetched)


def test_a_repository_that_is_no_checkpoint_is_refused(loopback, cifar_out, tmp_path):
    out = shutil.copytree(cifar_out, tmp_path / "out")
    publish(loopback, out)
    name = "mubench/cifar100-mini-vit-tiny-retrain-df5pct-s3"
    record = json.loads(unsealed(loopback.files("model", name)["run.json"]))
    record["run"]["method"] = "finetune"
    loopback.add("model", name, {"run.json": json.dumps(record).encode()})
    bench = DemoRuns.hub().bench("cifar100-mini", 5)
    with pytest.raises(BadInput, match="is the checkpoint of .*finetune.*, not of .*retrain"):
        bench.answer("retrain", bench.sample("test", 0))


@pytest.mark.slow
def test_a_busy_hub_loses_no_run(loopback, cifar_out, monkeypatch):
    publish(loopback, cifar_out)
    monkeypatch.setattr("mubench_hf.demo.runs.Retries", partial(Retries, wait=0.001))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    loopback.faults.unavailable, loopback.faults.seed = 0.3, 1
    assert len(DemoRuns.hub().results("cifar100-mini", 5)) == 6
    loopback.faults.unavailable = 1.0
    with pytest.raises(BadInput, match="cannot be reached"):
        DemoRuns.hub()


def test_an_organisation_without_runs(loopback):
    with pytest.raises(BadInput, match="elsewhere has published no original"):
        DemoRuns.hub("elsewhere")
