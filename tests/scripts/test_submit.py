"""``mubench submit``: a run is checked, proposed, merged, verified and shown as such; what is forged is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forger import submission
from hub import OUTSIDER
from unsealed import unsealed

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.board import TableKey, read_board
from mubench_hf.leaderboard.marks import MARKS

KEY = TableKey("cifar100", "mini", "vit-tiny", 5)
LOAD = """
import json
from datasets import load_dataset
rows = load_dataset("mubench/results", split="train")
print(json.dumps([rows.column_names, [row for row in rows if row["score"] == "zrf"]]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return submission(tmp_path_factory.mktemp("made"))


@pytest.fixture
def own_run(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("this asks the network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("COLUMNS", "150")


def summary(folder):
    """Return what is said of a folder whose scores agree: times are stated, not recomputed."""
    results = [json.loads(file.read_text()) for file in (folder / "results").glob("*.json")]
    times = ("unlearn_seconds", "compute_seconds", "retrain_time_ratio")
    values = [
        value for run in results for key, value in run["scores"].items() if key not in times and value is not None
    ]
    return f"{len(values)} stated scores of 9 runs were recomputed from their outputs, and agree."


def forge(folder, pattern="*-finetune-*", by=0.01):
    """Change one score of one run and return its name."""
    file = next((folder / "results").glob(f"{pattern}.json"))
    content = json.loads(unsealed(file.read_text()))
    content["scores"]["zrf"] += by
    file.write_text(json.dumps(content))
    return file.stem


def test_a_dry_run_shows_everything_and_sends_nothing(own_run, capsys, no_network):
    before = {file: file.stat().st_mtime_ns for file in (own_run / "results").iterdir()}
    dispatch(["submit", str(own_run), "--data", str(own_run)])
    printed = capsys.readouterr().out
    name = "cifar100-mini-vit-tiny-finetune-df5pct-s42"
    size = (own_run / "results" / f"{name}.json").stat().st_size
    assert "datasets/mubench/results (29 files, " in printed
    assert f"runs/cifar100-mini/{name}.json {size / 1000:.1f} kB" in printed
    assert f"outputs/cifar100-mini/{name}.npz " in printed and f"scores/cifar100-mini/{name}.jsonl " in printed
    assert summary(own_run) in printed and "nothing can recompute them" in printed
    assert printed.endswith("Nothing was sent. Add --push to open a pull request.\n")
    assert {file: file.stat().st_mtime_ns for file in (own_run / "results").iterdir()} == before


@pytest.mark.slow
def test_result_files_are_submitted_one_by_one(own_run, capsys, no_network):
    files = [str(file) for file in (own_run / "results").glob("*.json")]
    dispatch(["submit", *files, "--data", str(own_run)])
    assert summary(own_run) in capsys.readouterr().out
    with pytest.raises(BadInput, match="2 seeds"):
        dispatch(["submit", *[file for file in files if "finetune-df5pct-s42" not in file], "--data", str(own_run)])


def test_a_forged_score_is_refused_with_what_it_should_be(own_run):
    name = forge(own_run)
    with pytest.raises(BadInput, match=f"This cannot be submitted. {name}: score zrf: stated .*, recomputed"):
        dispatch(["submit", str(own_run), "--data", str(own_run)])


def test_verifying_marks_all_or_names_the_first_difference(own_run, capsys, no_network):
    dispatch(["submit", "--verify", str(own_run), "--data", str(own_run)])
    printed = capsys.readouterr().out
    assert (
        f"Verified: 9 runs, marked in {own_run / MARKS}. {summary(own_run)}" in printed
        and "nothing can recompute them" in printed
    )
    assert all(row.is_verified for row in read_board(own_run).tables[KEY])
    name = forge(own_run)
    rows = {row.group.method: row.verified for row in read_board(own_run).tables[KEY]}
    assert rows == {"original": 3, "retrain": 3, "finetune": 2}, "the mark of a changed file is void"
    (own_run / MARKS).unlink()
    with pytest.raises(SystemExit) as end:
        dispatch(["submit", "--verify", str(own_run), "--data", str(own_run)])
    assert end.value.code == 1 and not (own_run / MARKS).exists()
    assert f"First difference: {name}: score zrf: stated" in capsys.readouterr().out


def test_two_results_of_one_run_are_not_submitted_together(own_run, tmp_path):
    other = Path(shutil.copytree(own_run, tmp_path / "other"))
    forge(other, "*-s87")
    with pytest.raises(BadInput, match="are different results of one run"):
        dispatch(["submit", str(own_run), str(other)])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Name the runs to submit"),
        (["a", "--verify", "b"], "Name the runs to submit"),
        (["nowhere"], "There is no nowhere"),
        (["--verify", "nowhere"], "There is no folder nowhere"),
        (["nowhere", "--pull"], "--pull"),
    ],
)
def test_mistakes_are_named(argv, message):
    with pytest.raises(BadInput, match=message):
        dispatch(["submit", *argv])


@pytest.mark.slow
def test_a_real_run_becomes_a_verified_row(finished, hub, hub_env, tmp_path, capsys):
    """The whole way, from the output folder of ``mubench run`` to the mark on the leaderboard."""
    hub.add("dataset", "mubench/results", {})
    command = [sys.executable, "-m", "mubench_hf.cli", "submit", str(finished), "--data", str(finished), "--push"]
    env = {**hub_env, "HF_TOKEN": OUTSIDER}

    def run(command):
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    url = f"{hub.url}/datasets/mubench/results/discussions/1"
    assert run(command) == f"datasets/mubench/results: proposed, {url}"
    repo = hub.repos["dataset", "mubench/results"]
    assert repo.pulls[0].title.startswith("Results of 9 runs: cifar100-mini-vit-tiny at 5% (")
    repo.merge(1)

    folder = tmp_path / "board"
    for path, content in hub.files("dataset", "mubench/results").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    ((key, rows),) = read_board(folder).tables.items()
    assert key == KEY._replace(references=key.references) and not any(row.verified for row in rows)
    dispatch(["submit", "--verify", str(folder), "--data", str(finished)])
    assert all(row.is_verified for row in read_board(folder).tables[key])

    columns, rows = json.loads(run([sys.executable, "-c", LOAD]))
    results = [json.loads(file.read_text()) for file in (finished / "results").glob("*.json")]
    assert {(row["method"], row["seed"], row["value"]) for row in rows} == {
        (result["method"], result["seed"], result["scores"]["zrf"]) for result in results
    }
    assert "reason" in columns

    # Its methods alone: the references are on the leaderboard now.
    alone = [str(file) for file in (finished / "results").glob("*-finetune-*.json")]
    assert run([*command[:4], *alone, *command[5:]]) == "datasets/mubench/results: already there"
    capsys.readouterr()
