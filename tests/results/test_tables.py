import io
import random
import re

import pytest
from rich.console import Console

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate, heading
from mubench_hf.results.columns import other_columns, table_columns
from mubench_hf.results.tables import ResultTable, is_best, make_cell, markdown_table, print_table
from mubench_hf.runs.result import RunResult

SPLITS = ("test", "forget", "retain")
KEYS = [*(f"{split}_accuracy" for split in SPLITS), "unlearn_seconds", "retrain_time_ratio", "average_gap",
        "knowledge_gap", "mia_confidence_svc", "mia_loss_auc", "unlearning_score", "zrf"]  # fmt: skip


def make_run(method="scrub", seed=0, scores=None, **changes):
    values = dict(task="cifar100", variant="full", data_fingerprint="f", deletion_sha256="d", model="vit", del_ratio=5)
    values |= dict(status="ok", scores=scores or {}, method=method, seed=seed)
    if changes.get("status", "ok") != "ok":
        values["status_reason"] = "loss is not finite"
    return RunResult(**(values | changes))


def groups_of(*runs):
    (groups,) = aggregate(runs)
    return groups


def many_groups(methods, seeds=3):
    return groups_of(
        *(make_run(method, seed, {key: random.random() for key in KEYS}) for method in methods for seed in range(seeds))
    )


def draw(groups, width, color=False, **options):
    stream = io.StringIO()
    kind = {"force_terminal": True, "color_system": "standard"} if color else {}
    print_table(groups, console=Console(file=stream, width=width, **kind), **options)
    return stream.getvalue()


def markdown_rows(groups):
    """Return method -> header -> cell of the Markdown table."""
    return markdown_rows_of(markdown_table(groups))


def markdown_rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in table}) == 1
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


def bold_methods(groups, key):
    column = COLUMN[key]
    return [group.method for group in groups if make_cell(groups, group, column, "accuracy").best]


COLUMNS = table_columns(groups_of(make_run(scores=dict.fromkeys(KEYS, 0.5))), "accuracy")
COLUMN = {column.key: column for column in COLUMNS}


def test_columns_and_their_directions():
    assert [column.title for column in COLUMNS] == [
        "D_Test ↑",
        "D_f →",
        "D_r ↑",
        "Seconds ↓",
        "× retrain ↓",
        "MIA conf →",
        "MIA loss AUC →",
        "ZRF →",
        "Knowledge gap →",
        "Score ↑",
        "Gap ↓",
    ]


def test_a_metric_that_no_run_reports_has_no_column():
    held = random.sample(["zrf", "average_gap", "mia_loss_auc", "knowledge_gap"], 2)
    groups = groups_of(make_run("a", 0, {held[0]: 0.5}), make_run("b", 0, {held[1]: None}, reasons={held[1]: "why"}))
    assert {column.key for column in table_columns(groups, "accuracy")[5:]} == {*held}


def test_a_score_beside_a_metrics_own_has_no_column_of_its_own():
    groups = groups_of(make_run(scores=dict.fromkeys([*KEYS, "mia_loss_tpr_at_1fpr"], 0.5)))
    assert table_columns(groups, "accuracy") == COLUMNS


def test_a_score_of_no_known_metric_is_shown_without_a_best_one():
    scores = {key: random.random() for key in (*KEYS, "brilliance|[red]", "zeal")}
    groups = groups_of(*(make_run(name, scores=scores) for name in ("retrain", "a")))
    *_, first, last = table_columns(groups, "accuracy")
    assert [(each.header, each.title, each.direction) for each in (first, last)] == [
        (name, name, None) for name in ("brilliance|[red]", "zeal")
    ]
    assert not any(is_best(groups, group, last, "accuracy") for group in groups)
    rows = markdown_rows_of(markdown_table(groups).replace(r"\|", "/"))
    assert rows["a"]["zeal"] == f"{scores['zeal']:.3f}" and r"brilliance/\[red\]" in rows["a"]
    text = draw(groups, 400)
    assert "brilliance|[red] " in text and "brilliance|[red], zeal: of no metric known here" in text


@pytest.mark.parametrize("column", COLUMNS, ids=[column.key for column in COLUMNS])
def test_bold_is_the_best_method_in_the_direction_of_the_column(column):
    for _ in range(5):
        names = ["original", "retrain", "a", "b", "c", "d"]
        key = column.score_key("accuracy")
        values = {name: random.random() for name in names}
        groups = groups_of(*(make_run(name, scores={key: value}) for name, value in values.items()))
        methods = {name: values[name] for name in "abcd"}
        badness = {
            "higher": {name: -value for name, value in methods.items()},
            "lower": methods,
            "match_retrained": {name: abs(value - values["retrain"]) for name, value in methods.items()},
        }[column.direction]
        best = min(badness, key=badness.get)
        assert [g.method for g in groups if make_cell(groups, g, column, "accuracy").best] == [best]


def test_original_and_retrain_are_never_bold():
    scores = {"original": 0.9, "retrain": 0.8, "a": 0.2, "b": 0.1}
    groups = groups_of(*(make_run(name, scores=dict.fromkeys(KEYS, value)) for name, value in scores.items()))
    assert bold_methods(groups, "test_") == ["a"]
    assert bold_methods(groups, "zrf") == ["a"]
    assert bold_methods(groups, "average_gap") == ["b"]


def test_methods_with_diverged_runs_are_never_bold():
    def main(value):
        return {f"{split}_accuracy": value for split in SPLITS}

    ok = [make_run("a", seed, main(0.3)) for seed in range(2)]
    partly = [make_run("b", 0, main(0.9)), make_run("b", 1, main(0.1), status="diverged")]
    wholly = [make_run("c", seed, main(0.99), status="diverged") for seed in range(2)]
    assert bold_methods(groups_of(*ok, *partly, *wholly), "test_") == ["a"]
    alone = groups_of(*partly, *wholly)
    assert bold_methods(alone, "test_") == []
    rows = markdown_rows(alone)
    assert rows["b (**diverged 1/2**)"]["D_Test ↑"] == "0.900 [1/2]"
    assert rows["c (**diverged 2/2**)"]["D_Test ↑"] == "0.990 ±0.000"


def test_equal_methods_are_both_bold():
    groups = groups_of(
        *(make_run(name, scores={"test_accuracy": value}) for name, value in {"a": 0.5, "b": 0.5, "c": 0.4}.items())
    )
    assert bold_methods(groups, "test_") == ["a", "b"]


def test_equal_gaps_are_equally_bold():
    retrained, gap = random.random(), random.random() / 9
    scores = {"retrain": retrained, "a": retrained + gap, "b": retrained - gap, "c": retrained + 1.001 * gap}
    groups = groups_of(*(make_run(name, scores={"forget_accuracy": value}) for name, value in scores.items()))
    assert bold_methods(groups, "forget_") == ["a", "b"]


def test_a_mean_over_some_seeds_says_so_and_is_not_the_best():
    whole = [make_run("a", seed, {"zrf": 0.3}) for seed in range(3)]
    part = [
        make_run("b", seed, {"zrf": 0.2 if seed else None}, reasons={} if seed else {"zrf": "NaN"}) for seed in range(3)
    ]
    groups = groups_of(make_run("retrain", scores={"zrf": 0.1}), *whole, *part)
    assert bold_methods(groups, "zrf") == ["a"]
    assert markdown_rows(groups)["b"]["ZRF →"] == "0.200 ±0.000 (+0.100) [2/3]"
    text = draw(groups, 200)
    assert "0.200 ±0.000 (+0.100) 2/3" in text and "n/m: a mean over n of m seeds" in text


def test_nothing_is_closest_to_a_retrained_model_that_is_not_there():
    groups = groups_of(make_run("a", scores={"zrf": 0.5}))
    assert bold_methods(groups, "zrf") == []
    assert markdown_rows(groups)["a"]["ZRF →"] == "0.500"
    assert "No retrained model" in markdown_table(groups)
    assert "No retrained model" not in markdown_table(groups_of(make_run("retrain", scores={"zrf": 0.5})))


def test_cells_hold_mean_deviation_and_signed_gap():
    groups = groups_of(
        make_run("retrain", 0, {"forget_accuracy": 0.5, "unlearn_seconds": 1234.56}),
        make_run("a", 0, {"forget_accuracy": 0.25, "unlearn_seconds": 10}),
        make_run("a", 1, {"forget_accuracy": 0.5, "unlearn_seconds": 30}),
        make_run("b", 0, {"forget_accuracy": 0.50004}),
        make_run("b", 1, {"forget_accuracy": 0.49990}),
    )
    groups = [group for group in groups if group.method != "b"] + [group for group in groups if group.method == "b"]
    a = make_cell(groups, groups[1], COLUMN["forget_"], "accuracy")
    assert (a.mean, a.std, a.gap) == ("0.375", "±0.177", "-0.125")  # sqrt(2 * 0.125**2 / 1)
    seconds = make_cell(groups, groups[1], COLUMN["unlearn_seconds"], "accuracy")
    assert (seconds.mean, seconds.std, seconds.gap) == ("20.0", "±14.1", "")
    retrain = make_cell(groups, groups[0], COLUMN["forget_"], "accuracy")
    assert (retrain.mean, retrain.std, retrain.gap) == ("0.500", "", "")
    # A gap that rounds to nothing has no direction.
    assert make_cell(groups, groups[2], COLUMN["forget_"], "accuracy").gap == "+0.000"


def test_markdown_row():
    groups = groups_of(
        make_run("retrain", scores={"zrf": 0.5, "test_accuracy": 0.8}),
        make_run("rand_label", scores={"zrf": 0.75, "test_accuracy": 0.75}),
        make_run("ssd", scores={"zrf": 0.125, "test_accuracy": 0.5}),
    )
    rows = markdown_rows(groups)
    assert rows["retrain"]["ZRF →"] == "0.500"
    assert rows[r"rand\_label"]["ZRF →"] == "**0.750** (+0.250)"
    assert rows["ssd"]["ZRF →"] == "0.125 (-0.375)"


def test_missing_scores_are_dashes_and_their_reasons_stand_below():
    groups = groups_of(
        make_run(
            "original", scores={"zrf": 0.5, "unlearn_seconds": None}, reasons={"unlearn_seconds": "nothing to time"}
        ),
        make_run("a", 0, scores={"zrf": None, "unlearn_seconds": 2}, reasons={"zrf": "no logits"}),
        make_run("b", 0, scores={"zrf": None, "unlearn_seconds": 1}, reasons={"zrf": "no logits"}),
        make_run("b", 1, scores={"zrf": 0.5, "unlearn_seconds": 1}),
    )
    rows = markdown_rows(groups)
    assert rows["a"]["ZRF →"] == "–" and rows["original"]["Seconds ↓"] == "–" and rows["b"]["ZRF →"] == "0.500 [1/2]"
    for text in (markdown_table(groups), draw(groups, 300)):
        assert "– ZRF of a, b (1 seed shown): no logits" in text
        assert "– Seconds of original: nothing to time" in text
        assert text.count("no logits") == 1
        assert "a: 1 of 2 seeds" in text and "b: 1 of 2 seeds" not in text


def test_failed_and_diverged_runs_say_why():
    groups = groups_of(
        make_run("a", 0, {"zrf": 0.5}),
        make_run("a", 1, {"zrf": 0.1}, status="diverged"),
        make_run("b", 0, status="failed", status_reason="out of memory"),
        make_run("b", 1, status="failed", status_reason="out of memory"),
    )
    text = draw(groups, 300)
    assert "a diverged 1/2 (means over ok runs): loss is not finite" in text
    assert "b failed 2/2 (no scores): out of memory" in text
    assert text.count("out of memory") == 1
    assert markdown_rows(groups)["b (**failed 2/2**)"]["ZRF →"] == "–"


def test_mini_data_are_named_as_such():
    mini = groups_of(make_run(variant="mini", seed=4), make_run(variant="mini", seed=2))
    assert heading(mini, "CIFAR-100") == "CIFAR-100-mini (not CIFAR-100) · vit · 5% deleted · seeds 2, 4"
    assert heading(groups_of(make_run(seed=4))) == "cifar100 · vit · 5% deleted · seed 4"
    for text in (markdown_table(mini, "CIFAR-100"), draw(mini, 120, title="CIFAR-100")):
        assert "Mini data, not CIFAR-100" in text
    assert "Mini data" not in markdown_table(groups_of(make_run()), "CIFAR-100")


def test_main_columns_follow_the_metric_of_the_task():
    scores = {f"{split}_{metric}": value for metric, value in (("rouge_l", 0.25), ("bleu", 0.5)) for split in SPLITS}
    groups = groups_of(make_run(scores=scores))
    assert [make_cell(groups, groups[0], column, "rouge_l").mean for column in COLUMNS[:3]] == ["0.250"] * 3
    assert "rouge_l on test" in draw(groups, 200, metric="rouge_l")
    with pytest.raises(BadInput, match="metric="):
        ResultTable(groups)
    only = groups_of(make_run(scores={f"{split}_rouge_l": 0.125 for split in SPLITS}))
    assert markdown_rows(only)["scrub"]["D_r ↑"] == "**0.125**"


def test_tables_of_different_data_are_not_joined():
    tables = aggregate([make_run(), make_run(variant="mini")])
    with pytest.raises(BadInput, match="variant"):
        ResultTable([group for table in tables for group in table])


@pytest.mark.parametrize("width", [300, 120, 80, 60])
def test_every_number_is_whole_at_any_width(width):
    groups = many_groups(["original", "retrain", "bad_teaching", "finetune", "neggrad", "rand_label", "salun", "scrub"])
    text = draw(groups, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    found = re.findall(r"[±+-]?\d+\.\d+", text)
    wanted = []
    for group in groups:
        for column in COLUMNS:
            cell = make_cell(groups, group, column, "accuracy")
            wanted += [part for part in (cell.mean, cell.std, cell.gap) if part]
    assert sorted(found) == sorted(wanted)


def test_many_settings_leave_the_numbers_their_room():
    settings = {
        "peft": "lora",
        "peft_r": 8,
        "peft_target_modules": "q_proj,v_proj",
        "peft_modules_to_save": "classifier",
    }
    groups = groups_of(
        make_run("scrub"), make_run("scrub", settings=settings), make_run("scrub", settings={"alpha": 2})
    )
    for width in (120, 80):
        text = draw(groups, width)
        assert "…" not in text and max(map(len, text.splitlines())) <= width
        assert "scrub (alpha=2)" in text and "peft_target_modules=q_proj,v_proj\n" in re.sub(r" +\n", "\n", text)
    assert f"scrub ({', '.join(f'{name}={value}' for name, value in settings.items())})" in markdown_table(
        groups
    ).replace("\\", "")


def test_one_table_at_120_columns_and_several_at_80():
    groups = many_groups(["original", "retrain", "curriculum_scrub"])
    assert [draw(groups, width).count("Method") for width in (300, 120, 80)] == [1, 1, 2]
    assert draw(groups, 300).count("\n") < draw(groups, 120).count("\n")


def test_styles_in_a_terminal():
    groups = groups_of(
        make_run("retrain", scores={"zrf": 0.5}),
        make_run("a", scores={"zrf": 0.25}),
        make_run("b", scores={"zrf": 0.5}, status="diverged"),
    )
    text = draw(groups, 300, color=True)
    assert "\x1b[1m0.250\x1b[0m" in text  # bold
    assert re.search(r"\x1b\[2m \(-0\.250\)\x1b\[0m", text)  # dim
    assert "\x1b[31mdiverged 1/1\x1b[0m" in text  # red
    assert "\x1b[1m0.500" not in text


def test_reasons_cannot_break_the_layout():
    reason = "first\nline | [red]x[/red] <b>\x1b[31m" + "y" * 200
    groups = groups_of(make_run(scores={"zrf": None}, reasons={"zrf": reason}))
    (line,) = [line for line in markdown_table(groups).splitlines() if "first" in line]
    assert r"first line \| \[red\]x" in line and "<b>" not in line and line.endswith("…") and len(line) < 150
    (line,) = [line for line in draw(groups, 400).splitlines() if "first" in line]
    assert r"first line | [red]x[/red] <b>\x1b[31my" in line


def other_scores(metrics, methods=("retrain", "scrub", "salun"), **changes):
    drawn = {f"{split}_{metric}": None for metric in metrics for split in SPLITS}
    return groups_of(
        *(
            make_run(name, seed, {key: random.random() for key in drawn}, **changes)
            for name in methods
            for seed in (0, 1)
        )
    )


def test_other_scores_of_the_splits_stand_in_a_table_of_their_own():
    groups = other_scores(["rouge_l", "rouge_1", "token_accuracy", "frechet_distance"])
    columns = other_columns(groups, "rouge_l")
    assert [column.title for column in columns] == [
        f"{split} {name} {arrow}"
        for name, best in (("frechet_distance", "↓"), ("rouge_1", "↑"), ("token_accuracy", "↑"))
        for split, arrow in (("D_Test", best), ("D_f", "→"), ("D_r", best))
    ]
    text = markdown_table(groups, metric="rouge_l")
    main, other = text.split("**Other scores")
    assert "frechet_distance" not in main and "D_Test ↑" in main
    table = [line for line in other.splitlines() if line.startswith("| scrub")]
    (scrub,) = (group for group in groups if group.method == "scrub")
    cells = [cell.strip().split()[0].strip("*") for cell in table[0].strip("|").split("|")[1:]]
    assert cells == [f"{scrub.score(column.key).mean:.3f}" for column in columns]
    shown = draw(groups, 200, metric="rouge_l")
    assert "Other scores" in shown and all(cell in shown for cell in cells)


def test_without_other_scores_there_is_no_second_table():
    assert "Other scores" not in markdown_table(many_groups(["retrain", "scrub"]))
