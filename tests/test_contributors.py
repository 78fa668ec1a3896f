"""A second contributor: their runs enter nobody's rows and break nobody's mark, whatever they submit."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forger import added, flat, rescore_all, submission

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.leaderboard import read_folder
from mubench_hf.leaderboard.board import TableKey, read_board
from mubench_hf.leaderboard.folders import FLAT, MANIFEST, SUBMISSIONS, Manifest
from mubench_hf.leaderboard.pages import board_table, left_out_html
from mubench_hf.leaderboard.verify import verify_submission
from mubench_hf.leaderboard.views import csv_text, find_row
from mubench_hf.runs.store import load_logits, load_result, save_logits, save_result

KEY = TableKey("cifar100", "mini", "vit-tiny", 5)
SEEDS = (42, 87, 21)


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """Output folder of a contributor. Tests copy it."""
    return submission(tmp_path_factory.mktemp("honest"), seeds=SEEDS)


@pytest.fixture(scope="module")
def second(honest, tmp_path_factory) -> Path:
    """Output folder of another contributor with the same seeds, and so with the same names, but other models."""
    out = tmp_path_factory.mktemp("second")
    shutil.copytree(honest / "mubench", out / "mubench")
    return submission(out, seeds=SEEDS)


def copied(run, to):
    return Path(shutil.copytree(run / "results", to / "results")).parent


def shown(board, key=KEY):
    rows, columns = board.tables[key], board.columns(key)
    return board_table(key, rows, rows, columns, None, False), csv_text(rows, columns)


def other_seeds(run, to, by=1000):
    """Copy an output folder with other seeds and originals."""
    (to / "results").mkdir(parents=True)
    for file in (run / "results").glob("*.json"):
        result = load_result(file)
        seed = result.seed + by
        base = result.base_model and re.sub("-s[0-9]+$", f"-s{seed}", result.base_model)
        moved = replace(result, seed=seed, base_model=base, base_revision=base and f"{seed:064x}")
        save_result(moved, to / "results")
        save_logits(moved.name, to / "results", load_logits(file.stem, file.parent))
    rescore_all(to)
    return to


def verified(board, data):
    """Verify a results data set as a maintainer does, and return its tables."""
    try:
        dispatch(["submit", "--verify", str(board), "--data", str(data)])
    except SystemExit as end:
        assert end.code == 1
    return read_board(board)


@pytest.mark.parametrize(("first", "seeds"), [("flat", "same"), ("folder", "other")])
@pytest.mark.slow
def test_honest_rows_stay_as_they_are_whoever_comes_after(first, seeds, honest, second, tmp_path):
    board, key = tmp_path / "board", KEY
    if first == "flat":
        flat(board, honest)
    else:
        key = key._replace(references=added(board, honest))
    before = shown(verified(board, honest), key)
    other = copied(second, tmp_path / "a") if seeds == "same" else other_seeds(second, tmp_path / "b")
    name = added(board, other)
    after = read_board(board)
    assert not after.left_out and shown(after, key) == before, "nothing of the other's is in it, and its mark holds"
    assert not any(row.verified for row in after.tables[KEY._replace(references=name)])
    assert all(row.is_verified for rows in verified(board, honest).tables.values() for row in rows)
    assert shown(read_board(board), key) == before
    table = shown(read_board(board), KEY._replace(references=name))[0]
    assert f"submission {name}" in table, "it is said whose retrained models these rows are compared with"


@pytest.mark.slow
def test_methods_alone_are_rows_of_their_own_beside_the_references_they_name(honest, second, tmp_path):
    board, alone = tmp_path / "board", copied(honest, tmp_path / "alone")
    flat(board, honest)
    before = verified(board, honest).tables[KEY]
    for file in alone.glob("results/*"):
        if "-finetune-" not in file.name:
            file.unlink()
        elif file.suffix == ".npz":  # The same method of somebody else, on another machine.
            arrays = load_logits(file.stem, file.parent)
            noise = np.random.default_rng().normal(size=arrays["test_logits"].shape)
            save_logits(file.stem, file.parent, arrays | {"test_logits": (arrays["test_logits"] + noise).astype("f4")})
    everything = copied(honest, tmp_path / "whole")
    shutil.copytree(alone / "results", everything / "results", dirs_exist_ok=True)
    rescore_all(everything)
    for file in (everything / "results").glob("*-finetune-*.json"):
        shutil.copy(file, alone / "results" / file.name)
    name = added(board, alone, references=FLAT)
    after = verified(board, honest)
    assert after.tables.keys() == {KEY} and after.tables[KEY][: len(before)] == before
    row = find_row(after, KEY, f"finetune (submission {name})")
    assert row.is_verified and row.group.seeds == tuple(sorted(SEEDS)) and row.group.gap_to_retrain("test_accuracy")
    assert find_row(after, KEY, "finetune").group.runs == row.group.runs, "the same names, and other runs"


def thief_of_logits(run, honest, data):
    """Another's retrained model as a method of one's own."""
    theirs = load_logits("cifar100-mini-vit-tiny-retrain-df5pct-s87", honest / "results")
    name = "cifar100-mini-vit-tiny-finetune-df5pct-s42"
    mine = load_logits(name, run / "results")
    mine |= {f"{split}_logits": theirs[f"{split}_logits"] + np.float32(1e-3) for split in ("forget", "retain", "test")}
    save_logits(name, run / "results", mine)
    rescore_all(run)


def thief_of_a_result(run, honest, data):
    """Another's result with its file of outputs, as one's own."""
    for ending in ("json", "npz"):
        name = f"cifar100-mini-vit-tiny-finetune-df5pct-s42.{ending}"
        shutil.copy(honest / "results" / name, run / "results" / name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steal", "reason"),
    [(thief_of_logits, "its logits are that run's own"), (thief_of_a_result, "it is that result, byte for byte")],
)
def test_what_another_submitted_is_refused_and_keeps_its_mark(steal, reason, honest, second, tmp_path, capsys):
    board, thief = tmp_path / "board", copied(second, tmp_path / "thief")
    owner = KEY._replace(references=added(board, honest))
    before = shown(verified(board, honest), owner)
    steal(thief, honest, honest)
    name = added(board, thief)
    capsys.readouterr()
    after = verified(board, honest)
    said = capsys.readouterr().out
    assert reason in said and f"{name}/cifar100-mini-vit-tiny-finetune-df5pct-s42" in said
    assert f"nothing of it was marked: {name}." in said
    assert shown(after, owner) == before and all(row.is_verified for row in after.tables[owner])
    assert not any(row.verified for row in after.tables[KEY._replace(references=name)])


def more_in_anothers_folder(board, name):
    """A run more, of another seed."""
    file = next((board / SUBMISSIONS / name).glob("runs/*/*-finetune-*-s42.json"))
    result = replace(load_result(file), seed=43)
    save_result(result, file.parent)
    return {f"{SUBMISSIONS}/{name}/runs/cifar100-mini/{result.name}.json"}


def changed_list(board, name):
    """The list with that run in it."""
    (path,) = more_in_anothers_folder(board, name)
    file = board / SUBMISSIONS / name / MANIFEST
    content = json.loads(file.read_text())
    content["runs"]["cifar100-mini/x"] = ["0" * 64, "1" * 64]
    file.write_text(json.dumps(content))
    return {each.relative_to(board).as_posix() for each in file.parent.glob("runs/*/*.json")}


def another_name(board, name):
    """The same submission twice, once under a name that is not its own."""
    other = shutil.copytree(board / SUBMISSIONS / name, board / SUBMISSIONS / ("0" * 12))
    return {each.relative_to(board).as_posix() for each in other.glob("runs/*/*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("change", [more_in_anothers_folder, changed_list, another_name])
def test_nobody_adds_to_anothers_folder(change, honest, second, tmp_path):
    board = tmp_path / "board"
    flat(board, honest)
    name = added(board, second)
    before = read_board(board)
    bad = change(board, name)
    after = read_board(board)
    assert {left.path for left in after.left_out} == bad and all(left.reason for left in after.left_out)
    assert all(path in left_out_html(after) for path in bad)
    for key, rows in after.tables.items():
        assert rows == before.tables[key], "others' rows, and what is listed, are unchanged"
    assert KEY in after.tables and (KEY._replace(references=name) in after.tables) == (change is not changed_list)


def test_a_submission_is_called_by_what_it_holds(tmp_path):
    runs = {f"cifar100/run-{number}": (f"{random.getrandbits(99):064x}", "1" * 64) for number in range(3)}
    one = Manifest(runs)
    assert Manifest(dict(reversed(runs.items()))).id == one.id, "in whatever order"
    more = Manifest({**runs, "a/b": ("c", "d")})
    assert len({one.id, more.id, Manifest(runs, FLAT).id, Manifest(runs, one.id).id}) == 4
    folder = tmp_path / one.id
    folder.mkdir()
    with pytest.raises(BadInput, match="has submission.json in it and 12 digits"):
        Manifest.read(folder)
    (folder / MANIFEST).write_bytes(one.to_bytes())
    assert Manifest.read(folder) == one
    for content, reason in (
        (more.to_bytes(), "it was changed, or put under another's name"),
        (b"[]", "no list of a submission's results"), (b'{"runs": {"a": [1, 2]}, "references": null}', "other values"),
        (b'{"runs": {}, "references": "../.."}', "references are"), (b'{"runs": {}}', "no list"), (b"\xff", "no list"),
    ):  # fmt: skip
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(BadInput, match=reason):
            Manifest.read(folder)


@pytest.mark.slow
def test_a_submission_brings_all_its_references_or_none(honest, second, tmp_path):
    board = tmp_path / "board"
    flat(board, honest)
    name = added(board, second, references=FLAT)
    found = [str(each) for each in verify_submission(read_folder(board), data=honest).problems]
    assert "Bring all of them or none" in found[0] and all(line.startswith(f"{name}/") for line in found)
