"""`mubench evaluate org/name`: every score from the weights again, agreeing with what is stated or found out."""

import json
import re
import subprocess
import sys

import pytest
from made_up import checkpoint
from safetensors.torch import load, save
from unsealed import unsealed

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.hub import dataset_bundle, model_bundle
from mubench_hf.hub.verify import verify_checkpoint
from mubench_hf.tasks import get_task

ORIGINAL, NAME = "cifar100-mini-vit-tiny-original-s42", "cifar100-mini-vit-tiny-finetune-df5pct-s42"


def put(hub, bundle):
    """Store a bundle as publishing would; return its files and the revision."""
    files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
    return files, hub.add(bundle.kind, bundle.repo_id, files)


@pytest.fixture
def published(own_bench, quick, hub):
    """Files and revision of an unlearned model on the Hub, beside its data set and its original; no retrained one."""
    dispatch(["evaluate", str(own_bench / "mubench" / ORIGINAL), "--out", str(own_bench)])
    flags = ["--method", "finetune", "--out", str(own_bench), "--disable_tqdm", "true"]
    dispatch(["unlearn", "--task", "cifar100", "--mini", *flags])
    put(hub, dataset_bundle(get_task("cifar100"), variant="mini", out=own_bench))
    put(hub, model_bundle(own_bench / "mubench" / ORIGINAL))
    return put(hub, model_bundle(own_bench / "mubench" / NAME))


def tampered_weights(files):
    weights = load(files["model.safetensors"])
    weights["classifier.bias"][0] += 0.1
    return files | {"model.safetensors": save(weights, metadata={"format": "pt"})}


def tampered_score(files, key, value):
    result = json.loads(unsealed(files["run_result.json"]))
    result["scores"][key] = value
    return files | {"run_result.json": json.dumps(result).encode()}


def test_changed_weights_and_scores_are_found(published, hub_here, own_bench):
    files, _ = published
    stated = json.loads(files["run_result.json"])["scores"]
    hub_here.add("model", "mubench/weights", tampered_weights(files))
    hub_here.add("model", "mubench/score", tampered_score(files, "forget_accuracy", stated["forget_accuracy"] - 0.02))
    weights, score = (verify_checkpoint(f"mubench/{name}", out=own_bench) for name in ("weights", "score"))
    assert "zrf" in [found.key for found in weights.differing]
    assert [found.key for found in score.differing] == ["forget_accuracy"]
    assert score.revision == hub_here.repos["model", "mubench/score"].commits[-1][0]
    (time,) = (found for found in score.checks if found.key == "unlearn_seconds")
    assert (time.agrees, time.note) == ("exactly", "time of run.json, not measured again")


@pytest.mark.slow
def test_no_statement_about_the_hardware_changes_what_is_allowed(published, hub_here, own_bench):
    files, _ = published
    stated = json.loads(unsealed(files["run_result.json"]))
    better = {**stated["scores"], "forget_accuracy": stated["scores"]["forget_accuracy"] - 1 / 50}
    forged = {
        "hardware": {**stated["hardware"], "cpu": "of another kind", "threads": 512, "device": "cuda"},
        "versions": dict.fromkeys(stated["versions"], "0.0"),
        "evaluated": {"device": "NVIDIA H100", "dtype": "bfloat16"},
    }
    found = {}
    for name, changes in {"as-made": {}, **{field: {field: value} for field, value in forged.items()}}.items():
        result = {**stated, "scores": better, **changes}
        hub_here.add("model", f"mubench/{name}", files | {"run_result.json": json.dumps(result).encode()})
        found[name] = verify_checkpoint(f"mubench/{name}", out=own_bench).checks
    assert all(checks == found["as-made"] for checks in found.values())
    (wrong,) = (check for check in found["as-made"] if check.agrees == "no")
    assert wrong.key == "forget_accuracy" and wrong.tolerance < 1 / 50


@pytest.mark.slow
def test_scores_are_recomputed_from_what_is_published(published, hub, hub_env, tmp_path):
    files, revision = published
    # What came after the pinned revision is another file altogether.
    hub.add("model", f"mubench/{NAME}", {"model.safetensors": b"", "run_result.json": b""})
    stated = json.loads(files["run_result.json"])["scores"]
    hub.add("model", "mubench/score", tampered_score(files, "zrf", stated["zrf"] + 1e-3))
    (tmp_path / "here").mkdir()

    def evaluate(name):
        return subprocess.run(
            [sys.executable, "-m", "mubench_hf.cli", "evaluate", name], env={**hub_env, "COLUMNS": "200"},
            cwd=tmp_path / "here", capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    done = evaluate(f"mubench/{NAME}@{revision}")
    assert done.returncode == 0, done.stderr
    assert (
        f"mubench/{NAME} at {revision}\n" in done.stdout and "Nothing that is published of the hardware" in done.stdout
    )
    for key in stated:
        assert re.search(rf"^ *{key} .* exactly ", done.stdout, re.MULTILINE), key
    # Without a retrained model there was nothing to state, and there is nothing to compare.
    assert stated["average_gap"] is None and stated["unlearning_score"] is not None
    assert done.stdout.splitlines()[-1] == f"agrees: {len(stated)} of {len(stated)} stated scores"
    assert not list((tmp_path / "here").iterdir()), "published checkpoints leave nothing here"
    done = evaluate("mubench/score")
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "differs: zrf"


def test_what_states_no_scores_or_those_of_another_run(hub_here, tmp_path):
    files, _ = put(hub_here, model_bundle(checkpoint(tmp_path / "out")[0]))
    hub_here.add("model", "mubench/silent", {path: file for path, file in files.items() if path != "run_result.json"})
    with pytest.raises(BadInput, match="mubench/silent has no run_result.json: it states no scores"):
        verify_checkpoint("mubench/silent")
    for name, key, value in (("seed", "seed", 7), ("rows", "deletion_sha256", "c" * 64)):
        result = {**json.loads(unsealed(files["run_result.json"])), key: value}
        hub_here.add("model", f"mubench/{name}", {**files, "run_result.json": json.dumps(result).encode()})
        with pytest.raises(BadInput, match=f"mubench/{name} is not of the run .*({key}|s7 in place of)"):
            verify_checkpoint(f"mubench/{name}")


def test_a_data_set_that_is_nowhere(hub_here, tmp_path, monkeypatch):
    bundle = model_bundle(checkpoint(tmp_path / "out")[0])
    put(hub_here, bundle)
    with pytest.raises(BadInput, match="neither in .* nor readable from mubench/cifar100-mini.*Run: mubench build"):
        verify_checkpoint(bundle.repo_id, out=tmp_path)
