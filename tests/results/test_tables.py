import random
import re

import pytest
from result_runs import (
    COLUMN,
    COLUMNS,
    KEYS,
    SPLITS,
    draw,
    groups_of,
    make_run,
    many_groups,
    markdown_rows,
    markdown_rows_of,
    seeded,
)

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate, heading
from mubench_hf.results.columns import other_columns, table_columns
from mubench_hf.results.tables import ResultTable, column_cells, make_cell, markdown_table
from mubench_hf.trainers import declared_methods

NUMBER = r"[±+~-]?\d+\.\d+"


def bold_methods(groups, key):
    column = COLUMN[key]
    return [
        group.method for group, cell in zip(groups, column_cells(groups, column, "accuracy"), strict=True) if cell.best
    ]


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
    assert not any(cell.best for cell in column_cells(groups, last, "accuracy"))
    rows = markdown_rows_of(markdown_table(groups).replace(r"\|", "/"))
    assert rows["a"]["zeal"] == f"{scores['zeal']:.3f}" and r"brilliance/\[red\]" in rows["a"]
    text = draw(groups, 400)
    assert "brilliance|[red] " in text and "brilliance|[red], zeal: of no metric known here" in text


TIMED = ("unlearn_seconds", "retrain_time_ratio")


@pytest.mark.parametrize(
    "column", [column for column in COLUMNS if column.key not in TIMED], ids=lambda column: column.key
)
def test_bold_is_the_best_method_in_the_direction_of_the_column(column):
    for _ in range(5):
        key = column.score_key("accuracy")
        # Far apart, on both sides of the retrained model's.
        places = dict(zip("abcd", random.sample([0.05, 0.2, 0.35, 0.6, 0.7, 0.95], 4), strict=True))
        values = {"original": 0.99, "retrain": 0.5, **places}
        parts = {part: 0.5 for part in ("test_accuracy", "forget_accuracy", "retain_accuracy", "mia_confidence_svc")}
        groups = groups_of(
            *(run for name, value in values.items() for run in seeded(name, {**parts, key: value}, spread=0.001))
        )
        badness = {
            "higher": {name: -value for name, value in places.items()},
            "lower": places,
            "match_retrained": {name: abs(value - 0.5) for name, value in places.items()},
        }[column.direction]
        least = min(badness.values())
        assert bold_methods(groups, column.key) == [name for name in "abcd" if badness[name] < least + 1e-9]


def test_original_and_retrain_are_never_bold():
    scores = {"original": 0.9, "retrain": 0.8, "a": 0.2, "b": 0.1}
    groups = groups_of(
        *(run for name, value in scores.items() for run in seeded(name, dict.fromkeys(KEYS, value), spread=0.001))
    )
    assert bold_methods(groups, "test_") == ["a"]
    assert bold_methods(groups, "zrf") == ["a"]
    assert bold_methods(groups, "average_gap") == ["b"]


def test_methods_with_diverged_runs_are_never_bold():
    def main(value):
        return {f"{split}_accuracy": value for split in SPLITS}

    ok = [make_run(name, seed, main(0.3)) for name in ("a", "retrain") for seed in range(2)]
    partly = [make_run("b", 0, main(0.9)), make_run("b", 1, main(0.1), status="diverged")]
    wholly = [make_run("c", seed, main(0.99), status="diverged") for seed in range(2)]
    assert bold_methods(groups_of(*ok, *partly, *wholly), "test_") == ["a"]
    alone = groups_of(*partly, *wholly)
    assert bold_methods(alone, "test_") == []
    rows = markdown_rows(alone)
    assert rows["b (**diverged 1/2**)"]["D_Test ↑"] == "0.900 [1/2]"
    assert rows["c (**diverged 2/2**)"]["D_Test ↑"] == "0.990 ±0.000"


def test_equal_methods_are_both_bold():
    places = {"retrain": 0.5, "a": 0.5, "b": 0.5, "c": 0.4}
    groups = groups_of(*(run for name, value in places.items() for run in seeded(name, {"test_accuracy": value})))
    assert bold_methods(groups, "test_") == ["a", "b"]


def test_equal_gaps_are_equally_bold():
    retrained, gap = random.random(), 0.01 + random.random() / 9
    scores = {"retrain": retrained, "a": retrained + gap, "b": retrained - gap, "c": retrained + 1.2 * gap}
    groups = groups_of(*(run for name, value in scores.items() for run in seeded(name, {"forget_accuracy": value})))
    assert bold_methods(groups, "forget_") == ["a", "b"]


def test_one_seed_tells_nothing_apart():
    groups = groups_of(*(make_run(name, 0, dict.fromkeys(KEYS, random.random())) for name in ("retrain", "a", "b")))
    assert not any(cell.best for column in COLUMNS for cell in column_cells(groups, column, "accuracy"))
    text = markdown_table(groups)
    assert "nothing is bold: two retrained models" in text and "by seed" not in text and "interval" not in text
    assert markdown_rows(groups)["retrain"]["Gap ↓"] == "–"


def test_a_mean_over_some_seeds_says_so_and_is_not_the_best():
    whole = [make_run("a", seed, {"zrf": 0.3}) for seed in range(3)]
    part = [
        make_run("b", seed, {"zrf": 0.2 if seed else None}, reasons={} if seed else {"zrf": "NaN"}) for seed in range(3)
    ]
    groups = groups_of(*seeded("retrain", {"zrf": 0.1}), *whole, *part)
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
        make_run("retrain", 1, {"forget_accuracy": 0.5, "unlearn_seconds": 1234.56}),
        make_run("a", 0, {"forget_accuracy": 0.25, "unlearn_seconds": 10}),
        make_run("a", 1, {"forget_accuracy": 0.5, "unlearn_seconds": 30}),
        make_run("b", 0, {"forget_accuracy": 0.50004}),
        make_run("b", 1, {"forget_accuracy": 0.49990}),
    )
    groups = [group for group in groups if group.method != "b"] + [group for group in groups if group.method == "b"]
    a = make_cell(groups[1], COLUMN["forget_"], "accuracy")
    assert (a.mean, a.std, a.gap) == ("0.375", "±0.177", "-0.125")  # sqrt(2 * 0.125**2 / 1)
    seconds = make_cell(groups[1], COLUMN["unlearn_seconds"], "accuracy")
    assert (seconds.mean, seconds.std, seconds.gap) == ("20.0", "±14.1", "")
    retrain = make_cell(groups[0], COLUMN["forget_"], "accuracy")
    assert (retrain.mean, retrain.std, retrain.gap, retrain.floor) == ("0.500", "±0.000", "", "~0.000")
    # A gap that rounds to nothing has no direction.
    assert make_cell(groups[2], COLUMN["forget_"], "accuracy").gap == "+0.000"


def test_markdown_row():
    groups = groups_of(
        *seeded("retrain", {"zrf": 0.5, "test_accuracy": 0.8}, seeds=2, spread=0.01),
        *seeded("rand_label", {"zrf": 0.75, "test_accuracy": 0.75}, seeds=2, spread=0.01),
        *seeded("ssd", {"zrf": 0.125, "test_accuracy": 0.5}, seeds=2, spread=0.01),
    )
    rows = markdown_rows(groups)
    assert rows["retrain"]["ZRF →"] == "0.500 ±0.007 ~0.010"
    assert rows[r"rand\_label"]["ZRF →"] == "**0.750 ±0.007** (+0.250)"
    assert rows["ssd"]["ZRF →"] == "0.125 ±0.007 (-0.375)"


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
    assert [make_cell(groups[0], column, "rouge_l").mean for column in COLUMNS[:3]] == ["0.250"] * 3
    assert "rouge_l on test" in draw(groups, 200, metric="rouge_l")
    with pytest.raises(BadInput, match="metric="):
        ResultTable(groups)
    only = groups_of(make_run(scores={f"{split}_rouge_l": 0.125 for split in SPLITS}))
    assert markdown_rows(only)["scrub"]["D_r ↑"] == "0.125"


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
    found = re.findall(NUMBER, text.split("Gap to retrain by seed")[0])
    wanted = []
    for group in groups:
        for column in COLUMNS:
            cell = make_cell(group, column, "accuracy")
            wanted += re.findall(NUMBER, f"{cell.mean} {cell.std} {cell.gap} {cell.floor}")
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
    main = {width: draw(groups, width).split("Gap to retrain by seed")[0] for width in (300, 120, 80)}
    assert [text.count("Method") for text in main.values()] == [1, 1, 2]
    assert main[300].count("\n") < main[120].count("\n")


def test_styles_in_a_terminal():
    groups = groups_of(
        *seeded("retrain", {"zrf": 0.5}, seeds=2),
        *seeded("a", {"zrf": 0.25}, seeds=2),
        make_run("b", scores={"zrf": 0.5}, status="diverged"),
    )
    text = draw(groups, 300, color=True)
    assert "\x1b[1m0.250 ±0.000\x1b[0m" in text  # bold
    assert re.search(r"\x1b\[2m \(-0\.250\)\x1b\[0m", text)  # dim
    assert "\x1b[31mdiverged 1/1\x1b[0m" in text  # red
    assert "\x1b[1m0.500" not in text


def test_reasons_cannot_break_the_layout():
    reason = "first\nline | [red]x[/red] <b>\x1b[31m" + "y" * 200
    groups = groups_of(make_run(scores={"zrf": None}, reasons={"zrf": reason}))
    (line,) = [line for line in markdown_table(groups).splitlines() if "yyy" in line]
    assert r"first line \| \[red\]x" in line and "<b>" not in line and line.endswith("…") and len(line) < 150
    (line,) = [line for line in draw(groups, 400).splitlines() if "yyy" in line]
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


def test_a_table_says_what_a_method_warns_of():
    declared = {name: each.constants.get("caveat") for name, each in declared_methods().items()}
    warned = [name for name, caveat in declared.items() if caveat]
    assert "scrub" in warned, "its first steps follow rounding noise"
    shown = draw(groups_of(*(make_run(name) for name in (*declared, "stranger"))), 1000)
    for name, caveat in declared.items():
        assert (f"{name}: {caveat}" in shown) == bool(caveat)
    others = [name for name in declared if name not in warned]
    assert not any(declared[name] in draw(groups_of(*map(make_run, others)), 1000) for name in warned)
