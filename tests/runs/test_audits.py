"""Audits of finished runs from end to end: known limits, nothing touched, and the same bytes however often broken."""

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import quicken

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.runs.audits import bench
from mubench_hf.runs.audits.report import load_report
from mubench_hf.tasks import cifar100

NAME = "cifar100-mini-vit-tiny-{}-df5pct-s5"
FEW = ["--steps", "1", "2", "--most_steps", "60", "--parts", "relearn", "tenth", "prune", "--prune", "0.5"]


def command(out, *flags, method="finetune"):
    return ["audit", str(out / "mubench" / NAME.format(method)), "--out", str(out), *flags]


def hashes(folder: Path) -> dict[str, str]:
    """Return the content of every file below a folder, besides caches."""
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in sorted(files)
            if ".cache" not in file.parts}  # fmt: skip


def audits(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((out / "audits").glob("*"))}


@pytest.fixture(scope="module")
def run(every_method, tmp_path_factory):
    """A finished run that was audited, and what lay in its folder before."""
    out = Path(shutil.copytree(every_method, tmp_path_factory.mktemp("audited") / "run"))
    before = hashes(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar100, "TASK", cifar100.TASK)
        quicken()
        dispatch(command(out, *FEW))
    return out, before


@pytest.mark.slow
def test_an_audit_touches_nothing_and_knows_its_references(quick, run):
    out, before = run
    after = hashes(out)
    assert {name: after[name] for name in before} == before
    assert {name.split(os.sep)[0] for name in after.keys() - before.keys()} == {"audits"}
    found = {name.split("-")[4]: load_report(out / "audits" / name) for name in audits(out) if name.endswith(".json")}
    assert found.keys() == {"original", "retrain", "finetune"}
    assert found["original"].scores["relearn_steps"] == 0
    assert found["retrain"].scores["relearn_steps"] is None or found["retrain"].scores["relearn_time"] in (None, 1)
    kept = json.loads((out / "results" / f"{NAME.format('finetune')}.json").read_text())["scores"]
    for split in ("forget", "retain", "test"):
        assert found["finetune"].scores[f"{split}_score"] == kept[f"{split}_accuracy"]
    (share,) = found["finetune"].parts["prune"]["levels"]
    assert share == "50"
    assert found["finetune"].references == {name: found[name].checkpoint_sha256 for name in ("original", "retrain")}


@pytest.mark.slow
def test_again_and_broken_off_it_ends_in_the_same_bytes(quick, run, every_method, tmp_path, monkeypatch):
    out, _ = run
    once = audits(out)
    dispatch(command(out, *FEW))
    assert audits(out) == once
    other = Path(shutil.copytree(every_method, tmp_path / "other"))
    measure, left = bench.Bench.measure, [5, 3, 99]

    def killed(self, *args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return measure(self, *args)

    monkeypatch.setattr(bench.Bench, "measure", killed)
    while left:
        try:
            dispatch(command(other, *FEW))
            break
        except KeyboardInterrupt:
            left.pop(0)
    assert left == [99 - 4] and audits(other) == once


@pytest.mark.slow
def test_other_settings_have_a_file_of_their_own_and_another_checkpoint_is_refused(quick, run, tmp_path):
    out, _ = run
    out = Path(shutil.copytree(out, tmp_path / "run"))
    once = audits(out)
    dispatch(command(out, "--parts", "tenth", "--steps", "1", "--prune", "0.5"))
    more = audits(out)
    assert once.items() <= more.items() and len(more) == 2 * len(once)
    config = out / "mubench" / NAME.format("finetune") / "config.json"
    whole = config.read_bytes()
    config.write_bytes(whole + b" ")
    with pytest.raises(BadInput, match="was changed"):
        dispatch(command(out, *FEW))
    config.write_bytes(whole)
    file = next(name for name in once if "finetune" in name)
    (out / "audits" / file).write_bytes(next(text for name, text in once.items() if "retrain" in name))
    with pytest.raises(BadInput, match="is the audit of another checkpoint"):
        dispatch(command(out, *FEW))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--parts", "relern"], "--parts has 'relern'. Allowed: relearn"),
        (["--prune", "1.5"], "--prune has 1.5"),
        (["--prune", "nan"], "--prune has nan"),
        (["--steps", "0"], "steps are"),
        (["--steps", "500"], "most_steps is 100"),
        (["--learning_rate", "-1"], "learning_rate is -1"),
        (["--batch_size", "0"], "batch_size is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--del_ratio", "50"], "Deletion ratio"),
    ],
)
def test_what_cannot_be_done_is_one_line(flags, said, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadInput) as found:
        dispatch(["audit", str(tmp_path), "--out", str(tmp_path / "out"), *flags])
    assert said in str(found.value) and "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no runs in"):
        dispatch(["audit", str(tmp_path)])
    with pytest.raises(BadInput, match="neither a folder nor the name of a repository"):
        dispatch(["audit", str(tmp_path / "nowhere" / "at" / "all")])
