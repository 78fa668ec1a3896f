"""The leaderboard shows what the results say, mixes nothing, and leaves out what is no result with the reason."""

import csv
import dataclasses
import io
import json
import os
import random
import statistics
import subprocess
import sys

import pytest
from made_up import table
from unsealed import unsealed

from mubench_hf.errors import BadInput
from mubench_hf.leaderboard import read_folder
from mubench_hf.leaderboard.board import TableKey, read_board
from mubench_hf.leaderboard.entries import LARGEST_RESULT, dataset_paths
from mubench_hf.leaderboard.marks import write_marks
from mubench_hf.leaderboard.pages import board_table, method_html, table_title
from mubench_hf.leaderboard.submission import SCORE_COLUMNS, score_rows
from mubench_hf.leaderboard.views import (
    arrange,
    best_rows,
    csv_text,
    find_row,
    gap,
    method_page,
    methods_of,
    points,
    row_title,
    side_by_side,
    summary,
)
from mubench_hf.results.columns import TIMES
from mubench_hf.runs.store import save_result
from mubench_hf.utils.files import file_sha256

KEY = TableKey("cifar100", "mini", "vit-tiny", 5)


def of(results, method):
    return [run for run in results if run.method == method]


def column(board, header, key=KEY):
    return next(each for each in board.columns(key) if each.header == header)


def rewrite(folder, run, **scores):
    """Change scores in a result's file, without asking whether they are allowed."""
    file = folder / f"{run.name}.json"
    content = json.loads(unsealed(file.read_text()))
    content["scores"] |= scores
    file.write_text(json.dumps(content))
    return file.name


def test_numbers_are_those_of_the_runs(tmp_path):
    results = table(tmp_path)
    board = read_board(tmp_path)
    for method in ("retrain", "finetune", "scrub"):
        row, forget = find_row(board, KEY, method), [run.scores["forget_accuracy"] for run in of(results, method)]
        reference = statistics.fmean(run.scores["forget_accuracy"] for run in of(results, "retrain"))
        shown = summary(row, column(board, "D_f"))
        assert shown.mean == pytest.approx(statistics.fmean(forget)) and shown.std == pytest.approx(
            statistics.stdev(forget)
        )
        assert gap(row, column(board, "D_f")) == pytest.approx(statistics.fmean(forget) - reference)
        assert row.group.seeds == (21, 42, 87) and row.verified == 0
    assert "Knowledge gap" not in [each.header for each in board.columns(KEY)], "no run has it"


def test_mini_full_models_ratios_and_tasks_are_never_mixed(tmp_path):
    table(tmp_path / "a" / "results")
    table(tmp_path / "b" / "results", del_ratio=3)
    table(tmp_path / "c" / "results", variant="full", deletion_sha256="5" * 64)
    table(tmp_path / "d" / "results", task="imdb")
    table(tmp_path / "e" / "results", model="vit-large", variant="full")
    board = read_board(tmp_path)
    assert len(board.tables) == 5 and not board.left_out
    for key, rows in board.tables.items():
        for row in rows:
            assert all(getattr(row.group, name) == getattr(key, name) for name in TableKey._fields[:-1])
            assert row.group.seeds == (21, 42, 87)


def test_what_is_no_result_is_left_out_with_the_reason(tmp_path):
    methods = ("original", "retrain", "finetune", "scrub", "salun", "neggrad", "rand_label")
    runs = {run.method: run for run in table(tmp_path, methods=methods, seeds=(42,))}
    told = {
        rewrite(tmp_path, runs["finetune"], test_accuracy=float("nan")): "nan",
        rewrite(tmp_path, runs["scrub"], unlearn_seconds=-1.5): "negative",
        rewrite(tmp_path, runs["salun"], zrf=1.25): "allowed: 0 to 1",
        "garbage.json": "Not the JSON of a run",
        "deep.json": "Not the JSON of a run",
        "large.json": f"at most {LARGEST_RESULT}",
        "bytes.json": "UTF-8",
    }
    (tmp_path / "garbage.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "large.json").write_bytes(b" " * (LARGEST_RESULT + 1))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for name, change, reason in (
        ("neggrad", ("neggrad", "neggrat"), "Did you mean 'neggrad'"),
        ("rand_label", ("cifar100", "cifar10"), "Did you mean 'cifar100'"),
        ("retrain", ("vit-tiny", "bert-tiny"), "is for text"),
    ):
        old = tmp_path / f"{runs[name].name}.json"
        text, new = unsealed(old.read_text()), old.name.replace(*change)
        old.unlink()
        (tmp_path / new).write_text(text.replace(*change))
        told[new] = reason
    board = read_board(tmp_path)
    found = {left.path: left.reason for left in board.left_out}
    assert found.keys() == told.keys()
    assert not [name for name, reason in told.items() if reason not in found[name]], found
    assert [row.group.method for row in board.tables[KEY]] == ["original"]


def test_a_file_under_another_name_or_twice_or_behind_a_link_is_not_read(tmp_path):
    (first, *_) = table(tmp_path / "results")
    name = f"{first.name}.json"
    (tmp_path / "results" / "other.json").write_text((tmp_path / "results" / name).read_text())
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    table(outside, task="imdb")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "results").symlink_to(outside)
    (tmp_path / "again" / "results").mkdir(parents=True)
    (tmp_path / "again" / "results" / name).write_text((tmp_path / "results" / name).read_text())
    board = read_board(tmp_path)
    assert list(board.tables) == [KEY], "what a link names is not read"
    reasons = {left.path: left.reason for left in board.left_out}
    assert f"must be named {name}" in reasons["results/other.json"]
    assert "twice" in reasons[f"again/results/{name}"] and len(reasons) == 2


def test_runs_of_other_rows_are_left_out_of_their_table(tmp_path):
    table(tmp_path, methods=("original", "retrain", "finetune"))
    table(tmp_path, methods=("scrub",), data_fingerprint="c" * 64)
    board = read_board(tmp_path)
    assert [row.group.method for row in board.tables[KEY]] == ["original", "retrain", "finetune"]
    assert len(board.left_out) == 3 and all("other rows" in left.reason for left in board.left_out)


def marked(folder, results):
    """Write the layout of the results data set, with marks for all results but the first original."""
    for run in results:
        result, outputs, _ = dataset_paths(run)
        for path, content in ((result, run.to_json().encode()), (outputs, os.urandom(30))):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    hashes = {run.name: tuple(file_sha256(folder / path) for path in dataset_paths(run)[:2]) for run in results[1:]}
    write_marks(folder, hashes)


def test_a_mark_holds_for_exactly_the_files_that_were_verified(tmp_path):
    results = table(tmp_path / "made")
    marked(tmp_path / "board", results)
    rows = {row.group.method: row for row in read_board(tmp_path / "board").tables[KEY]}
    assert [rows[name].is_verified for name in ("original", "retrain", "finetune")] == [False, True, True]
    changed, swapped = of(results, "finetune")[0], of(results, "scrub")[1]
    (tmp_path / "board" / dataset_paths(changed)[0]).write_text(changed.to_json() + "\n")
    (tmp_path / "board" / dataset_paths(swapped)[1]).write_bytes(b"others")
    rows = {row.group.method: row for row in read_board(tmp_path / "board").tables[KEY]}
    assert [rows[name].verified for name in ("original", "retrain", "finetune", "scrub")] == [2, 3, 2, 2]
    (tmp_path / "board" / "verified.json").write_text('["a"]')
    with pytest.raises(BadInput, match="not a list of verified results"):
        read_board(tmp_path / "board")


READ = """
import json, sys
from mubench_hf.leaderboard.board import read_board
board = read_board("mubench/results")
((key, rows),) = board.tables.items()
print(json.dumps([list(key), {row.group.method: row.verified for row in rows}, [left.path for left in board.left_out]]))
"""


@pytest.mark.slow
def test_the_data_set_on_the_hub_is_read_like_a_folder(tmp_path, hub, hub_env):
    results = table(tmp_path / "made")
    marked(tmp_path / "board", results)
    files = {file.relative_to(tmp_path / "board").as_posix(): file.read_bytes()
             for file in (tmp_path / "board").rglob("*.*")}  # fmt: skip
    files |= {"runs/cifar100-mini/large.json": b" " * (LARGEST_RESULT + 1), "runs/x/nan.json": b"NaN"}
    hub.add("dataset", "mubench/results", files)
    done = subprocess.run([sys.executable, "-c", READ], env=hub_env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    key, verified, left_out = json.loads(done.stdout.splitlines()[-1])
    assert key == list(KEY) and verified == {"original": 2, "retrain": 3, "finetune": 3, "scrub": 3}
    assert sorted(left_out) == ["runs/cifar100-mini/large.json", "runs/x/nan.json"]


@pytest.mark.parametrize("where", ["nowhere", "../etc", "no/such/name"])
def test_what_is_neither_a_folder_nor_a_data_set_is_named(where):
    with pytest.raises(BadInput, match="There is no folder"):
        read_board(where)


def test_rows_are_filtered_and_sorted(tmp_path):
    table(tmp_path, methods=("original", "retrain", "finetune", "scrub", "bad_teaching"))
    board = read_board(tmp_path)
    rows, seconds = board.tables[KEY], column(board, "D_Test")
    for descending in (False, True):
        means = [summary(row, seconds).mean for row in arrange(rows, by=seconds, descending=descending)]
        assert len(means) == 5 and means == sorted(means, reverse=descending)
    assert [row.group.method for row in arrange(rows, " BAD-t ")] == ["bad_teaching"]
    assert [row.group.method for row in arrange(rows, "re")] == ["retrain"] and not arrange(rows, "<b>")


def test_a_row_without_a_number_stands_last_either_way(tmp_path):
    for run in of(table(tmp_path), "original"):
        gone = {"scores": {**run.scores, "zrf": None}, "reasons": {**run.reasons, "zrf": "gone"}}
        (tmp_path / f"{run.name}.json").write_text(dataclasses.replace(run, **gone).to_json())
    board = read_board(tmp_path)
    for descending in (False, True):
        order = arrange(board.tables[KEY], by=column(board, "ZRF"), descending=descending)
        assert [row.group.method for row in order][-1] == "original"


def test_two_methods_compared(tmp_path):
    results = table(tmp_path)
    board = read_board(tmp_path)
    first, second = (find_row(board, KEY, name) for name in ("finetune", "scrub"))
    lines = {line.column.header: line for line in side_by_side(first, second, board.columns(KEY))}

    def mean(method, key):
        return statistics.fmean(run.scores[key] for run in of(results, method))

    assert lines["D_f"].difference == pytest.approx(
        mean("finetune", "forget_accuracy") - mean("scrub", "forget_accuracy")
    )
    assert {lines["D_f"].better, lines["D_Test"].better, lines["Seconds"].better} == {None}, "noise tells none apart"
    assert {line.better for line in side_by_side(first, first, board.columns(KEY))} == {None}
    # Far apart in every seed, and retrained models alike.
    steady = {"original": 0.9, "retrain": 0.5, "finetune": 0.8, "scrub": 0.6}
    for run in results:
        scores = {f"{split}_accuracy": steady[run.method] + run.seed * 1e-5 for split in ("test", "forget", "retain")}
        save_result(dataclasses.replace(run, scores={**run.scores, **scores}), tmp_path)
    board = read_board(tmp_path)
    first, second = (find_row(board, KEY, name) for name in ("finetune", "scrub"))
    lines = {line.column.header: line for line in side_by_side(first, second, board.columns(KEY))}
    assert lines["D_f"].better == 2, "closest to retrain"
    assert lines["D_Test"].better == 1, "highest"
    assert lines["Seconds"].better is None, "wall seconds are never"
    assert best_rows(board.tables[KEY], column(board, "D_Test")) == {"finetune"}, "references do not compete"


def test_the_csv_has_every_digit(tmp_path):
    table(tmp_path)
    board = read_board(tmp_path)
    columns = random.sample(board.columns(KEY), 3)
    rows = arrange(board.tables[KEY], by=columns[0])
    lines = list(csv.DictReader(io.StringIO(csv_text(rows, columns))))
    assert [line["method"] for line in lines] == [row.group.method for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert (line["task"], line["variant"], line["del_ratio"]) == ("cifar100", "mini", "5")
        assert line["seeds"] == " ".join(map(str, row.group.seeds))
        for each in columns:
            name, found = each.score_key("accuracy"), summary(row, each)
            assert float(line[name]) == found.mean
            assert line[f"{name}_std"] == ("" if found.std is None else repr(found.std))
            told = gap(row, each)
            assert line[f"{name}_gap_to_retrain"] == ("" if told is None else repr(told))
            if row.group.method == "retrain":
                assert bool(line[f"{name}_floor"]) == (each not in TIMES)
    assert len(lines[0]) == 11 + 3 * 6
    assert csv_text([], columns).count("\n") == 1


def test_a_method_page_has_its_taxonomy_sources_and_all_results(tmp_path):
    table(tmp_path / "a" / "results")
    table(tmp_path / "b" / "results", task="imdb", methods=("original", "retrain", "neggrad"))
    board = read_board(tmp_path)
    page = method_page(board, "scrub")
    assert page.taxonomy["Measures"] == "logits" and page.papers == ("https://arxiv.org/abs/2302.09880",)
    assert [key.task for key, _ in page.results] == ["cifar100"]
    assert [key.task for key, _ in method_page(board, "retrain").results] == ["cifar100", "imdb"]
    assert len(method_page(board, "neggrad").papers) == 2 and not method_page(board, "salun").results
    with pytest.raises(BadInput, match="Did you mean 'scrub'"):
        method_page(board, "scrubb")
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(BadInput, match="Unknown method"):
        method_page(board, str(tmp_path / "evil.py"))


def test_points_lie_at_the_means(tmp_path):
    results = table(tmp_path)
    (found,) = [point for point in points(read_board(tmp_path).tables[KEY]) if point["method"] == "scrub"]
    assert found["forget"] == pytest.approx(statistics.fmean(r.scores["forget_accuracy"] for r in of(results, "scrub")))
    assert found["test"] == pytest.approx(statistics.fmean(r.scores["test_accuracy"] for r in of(results, "scrub")))


FASTER = {"learning_rate": 1e-3, "num_train_epochs": 7}
MINE = {"method": {"name": "mine.py:Mine", "sha256": "d" * 64}}


def test_a_method_with_other_settings_is_a_row_of_its_own(tmp_path):
    preset = table(tmp_path, methods=("original", "retrain", "finetune"))
    faster = table(tmp_path, methods=("finetune",), settings=FASTER, config=FASTER)
    board, label = read_board(tmp_path), "finetune (learning_rate=0.001, num_train_epochs=7)"
    assert not board.left_out
    rows = {row.group.label: row for row in board.tables[KEY]}
    assert list(rows) == ["original", "retrain", "finetune", label]
    for name, runs in (("finetune", of(preset, "finetune")), (label, faster)):
        mean = statistics.fmean(run.scores["zrf"] for run in runs)
        assert summary(find_row(board, KEY, name), column(board, "ZRF")).mean == pytest.approx(mean)
    assert [row.group.label for row in arrange(board.tables[KEY], "EPOCHS=7")] == [label]
    (line,) = [line for line in side_by_side(rows["finetune"], rows[label], board.columns(KEY))
               if line.column.header == "ZRF"]  # fmt: skip
    assert line.first != line.second
    lines = list(csv.DictReader(io.StringIO(csv_text(board.tables[KEY], ()))))
    assert [json.loads(line["settings"] or "{}") for line in lines] == [{}, {}, {}, FASTER]
    assert [row.group.label for _, row in method_page(board, "finetune").results] == ["finetune", label]
    assert [point["method"] for point in points(board.tables[KEY])] == list(rows)
    html = board_table(KEY, board.tables[KEY], board.tables[KEY], (), None, False)
    assert "<code>learning_rate=0.001</code>" in html and f'data-method="{label}"' in html


def test_a_method_from_outside_is_shown_as_external(tmp_path):
    table(tmp_path, methods=("original", "retrain"))
    table(tmp_path, methods=("mine",), external=MINE)
    board = read_board(tmp_path)
    row = find_row(board, KEY, "mine (external)")
    assert row_title(row) == "mine (external)" and not board.left_out
    page = method_page(board, "mine")
    assert page.source == "external, not a part of mubench_hf: mine.py:Mine dddddddd" and len(page.results) == 1
    assert "external, not a part" in method_html(board, page)
    assert [title for title, key in methods_of(board) if key in ("scrub", "mine")] == ["SCRUB", "mine (external)"]
    (*_, line) = csv.DictReader(io.StringIO(csv_text(board.tables[KEY], ())))
    assert line["method"] == "mine" and json.loads(line["external"]) == MINE
    # Another file of the same name is another method.
    table(tmp_path, methods=("mine",), external={"method": {**MINE["method"], "sha256": "e" * 64}})
    labels = [row.group.label for row in read_board(tmp_path).tables[KEY] if row.group.method == "mine"]
    assert sorted(labels) == [f"mine (external, method=mine.py:Mine {digit * 8})" for digit in "de"]


def test_a_model_from_outside_has_a_table_of_its_own(tmp_path):
    table(tmp_path, model="my-vit", external={"model": {"name": "my-vit", "sha256": "d" * 64}})
    board = read_board(tmp_path)
    ((key, rows),) = board.tables.items()
    assert table_title(key).endswith(" · my-vit (external) · 5% deleted") and len(rows) == 4
    assert [row.group.label for row in rows] == ["original", "retrain", "finetune", "scrub"], "all rows share it"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"methods": ("mine",)}, "Unknown method 'mine'"),
        ({"model": "my-vit"}, "Unknown model 'my-vit'"),
        ({"methods": ("mine",), "external": {"model": MINE["method"]}}, "Unknown method 'mine'"),
        ({"methods": ("mine",), "external": {"method": {"name": "mine.py"}}}, "needed are its name and sha256"),
        ({"settings": {"note": "x" * 4001}}, "at most 4000 are shown"),
        ({"settings": {"original": None}}, "Setting 'original' is None"),
    ],
)
def test_what_is_unknown_and_not_said_to_be_from_outside_is_left_out(tmp_path, fields, reason):
    table(tmp_path, **{"methods": ("scrub",), "seeds": (42,)} | fields)
    board = read_board(tmp_path)
    assert not board.tables and [reason in left.reason for left in board.left_out] == [True]


def test_a_forged_original_hides_no_table(tmp_path):
    """One run twice, once said to start from another original: of its own seed."""
    table(tmp_path, methods=("original", "retrain"))
    own = f"{KEY.task}-mini-{KEY.model}-original-s42"
    for settings in ({}, {"original": own}):
        table(tmp_path, methods=("finetune",), seeds=(42,), settings=settings, base_model=f"mubench/{own}")
    labels = [row.group.label for row in read_board(tmp_path).tables[KEY]]
    assert labels == ["original", "retrain", "finetune", f"finetune (original={own})"]


def test_no_result_names_a_file_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    (run,) = table(tmp_path / "results", methods=("scrub",), seeds=(42,))
    content = unsealed(run.to_json()).replace('"scrub"', '"evil.py"')
    (tmp_path / "results" / f"{run.name.replace('scrub', 'evil.py')}.json").write_text(content)
    (left,) = read_board(tmp_path / "results").left_out
    assert "not end in '.py'" in left.reason


def test_scores_as_rows_have_the_same_columns_for_every_task(tmp_path):
    for task in ("cifar100", "samsum"):
        (run, *_) = table(tmp_path / task, task=task)
        rows = [json.loads(line) for line in score_rows(run).splitlines()]
        assert {tuple(row) for row in rows} == {tuple(SCORE_COLUMNS)}
        assert {row["score"]: row["value"] for row in rows} == run.scores
        assert {row["reason"] for row in rows} == {None, "not asked for"}


def test_a_folder_of_a_million_files_would_be_bounded(tmp_path, monkeypatch):
    table(tmp_path)
    monkeypatch.setattr("mubench_hf.leaderboard.entries.MOST_RESULTS", 4)
    contents = read_folder(tmp_path)
    assert len(contents.entries) == 4 and len(contents.left_out) == 1 and "more than 4" in contents.left_out[0].reason
