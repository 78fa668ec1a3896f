"""Models of known state: what hides does, what is repeated, and the command that makes and ranks them."""

import json
import os

import numpy as np
import pytest
from torch.utils.data import Dataset

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.runs.meta.hiding import filtered
from mubench_hf.runs.meta.scoring import Scorer, _orders, _reordered, _shadows
from mubench_hf.runs.meta.states import PAIRS, STATES
from mubench_hf.runs.meta.training import RepeatedRows

SIZES = {"forget": 40, "retain": 90, "test": 60}


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


def drawn(rng, signal):
    outputs = {"chance": np.asarray(0.2)}
    for split, rows in SIZES.items():
        labels = rng.integers(5, size=rows)
        logits = rng.normal(size=(rows, 5)) + signal * np.eye(5)[labels]
        outputs |= {f"{split}_logits": logits.astype(np.float32), f"{split}_labels": labels}
    return {**outputs, "incompetent_forget_logits": rng.normal(size=(SIZES["forget"], 5))}


def share(outputs, split):
    return np.mean(outputs[f"{split}_logits"].argmax(1) == outputs[f"{split}_labels"])


@pytest.mark.parametrize("target", [0.0, 0.31, 0.5, 1.0])
def test_a_filter_takes_the_score_on_forgotten_rows_down_and_changes_nothing_else(rng, target):
    outputs = drawn(rng, 3.0)
    before = {name: value.copy() for name, value in outputs.items()}
    found = filtered(outputs, target)
    own = share(outputs, "forget")
    assert share(found, "forget") == pytest.approx(
        min(own, np.floor(target * SIZES["forget"] + 1e-9) / SIZES["forget"])
    )
    for name, value in before.items():
        np.testing.assert_array_equal(outputs[name], value)
        if name != "forget_logits":
            np.testing.assert_array_equal(found[name], value)
    np.testing.assert_array_equal(np.sort(found["forget_logits"]), np.sort(outputs["forget_logits"]))
    # What is changed first is what was nearest to being wrong.
    changed = (found["forget_logits"] != outputs["forget_logits"]).any(1)
    top = np.sort(outputs["forget_logits"], axis=1)
    right = outputs["forget_logits"].argmax(1) == outputs["forget_labels"]
    margins = top[:, -1] - top[:, -2]
    assert not changed[~right].any()
    if changed.any() and (right & ~changed).any():
        assert margins[changed].max() <= margins[right & ~changed].min()


class Rows(Dataset):
    def __init__(self, start, count):
        self.labels = np.arange(start, start + count)
        self.index = self.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        return {"labels": int(self.labels[position])}


def test_repeated_rows_are_all_rows_and_the_copies(rng):
    places = rng.integers(4, size=13)
    rows = RepeatedRows(Rows(0, 7), Rows(100, 4), places)
    found = [rows[place]["labels"] for place in range(len(rows))]
    assert found == [*range(7), *(100 + places)] == list(rows.labels)
    assert not hasattr(rows, "index")  # Copies of one row would be two rows of one index.


def test_scores_of_metrics_that_look_at_rows_alone_do_not_depend_on_their_order(rng):
    original, retrained, other = drawn(rng, 4.0), drawn(rng, 2.0), drawn(rng, 2.0)
    for outputs in (retrained, other):  # They are measured on the same rows.
        outputs |= _labels(original)
    orders = _orders(original, 3)
    assert all(not np.array_equal(order, np.arange(SIZES[split])) for split, order in orders.items())
    shadows = _shadows([{**retrained, **drawn(rng, 2.0), **_labels(original)} for _ in range(3)])
    assert _shadows([retrained]) == {}
    plain = Scorer(("accuracy",), 1, original, retrained, shadows=shadows)(other)
    references = (_reordered(each, orders) for each in (original, retrained))
    moved = Scorer(("accuracy",), 1, *references, shadows=_reordered(shadows, orders, axis=1))(
        _reordered(other, orders)
    )
    assert plain.keys() == moved.keys() and plain["average_gap"] is not None
    alone = ("forget_accuracy", "retain_accuracy", "mia_loss_auc", "zrf", "knowledge_gap", "forget_macro_f1")
    for name in (*alone, "prediction_distance", "rmia", "lira_offline"):
        assert moved[name] == pytest.approx(plain[name], abs=1e-9), name


def _labels(outputs):
    return {name: value for name, value in outputs.items() if name.endswith("labels")}


def test_every_state_of_a_pair_is_described():
    assert {state for pair in PAIRS for state in (pair.less, pair.more)} < STATES.keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["samsum"], "samsum is of the kind seq2seq; models of known state are made for tasks that give each row one"),
        (["cifar100", "--seeds", "7"], "give two or more different ones"),
        (["cifar100", "--seeds", "7", "7"], "give two or more different ones"),
        (["cifar100", "cifar100"], "name each once"),
        (["cifar100", "--jobs", "0"], "allowed are whole numbers from 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused_before_anything_is_made(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=said):
        dispatch(["meta", *words])
    assert not list(tmp_path.iterdir())


OWN = '''"""Share of D_f that is right, and nothing else."""

DIRECTION = "lower"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"


def own_share(forget_score):
    return {"own_share": forget_score}
'''


@pytest.mark.slow
def test_the_command_ranks_all_metrics_and_ones_own_and_makes_no_model_twice(
    tmp_path, monkeypatch, quick, brought_is_forgotten, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_share.py").write_text(OWN)
    words = ["meta", "cifar100", "--seeds", "3", "4", "--jobs", "1", "--out", "out", "--markdown"]
    dispatch([*words, "--metrics", "own_share.py"])
    table = capsys.readouterr().out
    names = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert {"own_share", "forget_accuracy", "test_accuracy", "retain_accuracy", "mia_confidence_svc"} <= names
    assert "audit_forget_loss_after_4_on_retain" in names and "unlearn_seconds" not in names
    states = tmp_path / "out" / "cifar100" / "known-states"
    made = {file: file.stat().st_mtime_ns for file in states.rglob("*") if file.is_file()}
    assert sum(file.name == "state.json" for file in made) == 2 * 6
    assert not list(states.rglob("run.json")), "nothing of it may be taken for a run"
    content = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert [(each["task"], each["seed"]) for each in content] == [("cifar100", 3), ("cifar100", 4)]

    with pytest.raises(BadInput, match="run.json"):
        dispatch(["evaluate", str(states / "masked-s3"), "--out", str(tmp_path / "out" / "cifar100")])
    next(states.glob("saw_ten_times-s4/state.json")).unlink()
    dispatch(words)
    again = {file: file.stat().st_mtime_ns for file in states.rglob("*") if file.is_file()}
    redone = {file.parent.name for file, time in again.items() if made[file] != time}
    assert again.keys() == made.keys() and redone == {"saw_ten_times-s4"}
    assert json.loads((tmp_path / "out" / "meta.json").read_text())[0]["scores"]["saw"].items() <= (
        content[0]["scores"]["saw"].items()
    )
