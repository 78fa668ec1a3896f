"""A method that differs from another by no more than the floor is nowhere called better."""

import re
from dataclasses import replace

import numpy as np
import pytest
from result_runs import COLUMN, draw, groups_of, make_run, markdown_rows, markdown_rows_of, seeded

from mubench_hf.leaderboard.board import make_board
from mubench_hf.leaderboard.entries import Entry
from mubench_hf.leaderboard.pages import board_table, comparison_table
from mubench_hf.leaderboard.views import best_rows, side_by_side
from mubench_hf.results.gap import GAP, gap_parts, merit_sample
from mubench_hf.results.standing import better_of, standing
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.result import RunResult

METHODS = ("bad_teaching", "finetune", "neggrad", "rand_label", "salun", "scrub")
PARTS = ("forget_accuracy", "retain_accuracy", "test_accuracy", "mia_confidence_svc")


def mini_runs(rng, seeds=5):
    """Return runs like those of cifar100-mini: retrained models differ by about .04, methods by less and by more."""
    runs = []
    retrained = {
        seed: {part: float(np.clip(0.7 + 0.04 * rng.normal(), 0, 1)) for part in PARTS} for seed in range(seeds)
    }
    for method in ("retrain", *METHODS):
        far = {part: 0.08 * rng.normal() for part in PARTS}
        for seed in range(seeds):
            own, gaps = dict(retrained[seed]), []
            if method != "retrain":
                own = {part: float(np.clip(own[part] + far[part] + 0.02 * rng.normal(), 0, 1)) for part in PARTS}
            gaps = [abs(own[part] - retrained[seed][part]) for part in PARTS]
            scores = own | {
                GAP: float(np.mean(gaps)),
                "zrf": float(rng.random()),
                "unlearning_score": float(rng.random()),
            }
            named = {"task": "cifar100", "variant": "mini", "model": "vit-tiny", "del_ratio": 5}
            runs.append(
                RunResult(
                    **named,
                    method=method,
                    seed=seed,
                    status="ok",
                    scores=scores,
                    data_fingerprint="f",
                    deletion_sha256="d",
                )  # fmt: skip
            )
    return runs


def shown(cell):
    """Return the merit of a cell as a reader takes it from the text: its gap if it has one, else its mean."""
    gap = re.search(r"\(([+-][\d.]+)\)", cell)
    return abs(float(gap[1])) if gap else float(re.search(r"[\d.]+", cell)[0])


@pytest.mark.parametrize("attempt", range(5))
def test_within_the_floor_none_is_called_better_in_the_rendered_tables(rng, attempt):
    runs = mini_runs(rng, seeds=int(rng.integers(2, 6)))
    groups = groups_of(*runs)
    text = markdown_table(groups, "CIFAR-100", "accuracy")
    main, by_seed = (markdown_rows_of(part) for part in text.split("**Gap to retrain by seed"))
    main, by_seed = ({name.replace("\\", ""): row for name, row in each.items()} for each in (main, by_seed))
    compared = 0
    for header, retrain in main["retrain"].items():
        floor = re.search(r"~([\d.]+)", retrain)
        if header == "Gap ↓":
            floor = re.match(r"()([\d.]+)", retrain)
        if floor is None:
            assert header == "Method" or not any("**" in main[name][header] for name in METHODS)
            continue
        limit = float(floor[floor.lastindex])
        for a in METHODS:
            for b in METHODS:
                cells = main[a][header], main[b][header]
                if abs(shown(cells[0]) - shown(cells[1])) <= limit + 1e-9:
                    compared += 1
                    assert cells[0].startswith("**") == cells[1].startswith("**"), (header, a, b)
                    if header == "Gap ↓":
                        assert by_seed[a]["Rank"] == by_seed[b]["Rank"]
        assert any("**" in main[name][header] for name in METHODS), "the best is bold"
    assert compared > len(METHODS) * 4


@pytest.mark.parametrize("attempt", range(2))
def test_nor_on_the_leaderboard(rng, tmp_path, attempt):
    board = make_board([Entry(run, tmp_path / f"{run.name}.json", "", None) for run in mini_runs(rng)])
    ((key, rows),) = board.tables.items()
    columns = board.columns(key)
    page = board_table(key, rows, rows, columns, None, False)
    groups = [row.group for row in rows]
    for column in columns:
        floor = standing(groups, column, "accuracy").floor
        best = best_rows(rows, column)
        marked = re.findall(rf'<td class="mb-best" data-key="{column.score_key("accuracy")}"', page)
        assert len(marked) == len(best)
        for a in rows:
            for b in rows:
                if a.group.is_method and b.group.is_method and a is not b:
                    (pair,) = side_by_side(a, b, [column])
                    means = [merit_sample(each.group, column, "accuracy").mean for each in (a, b)]
                    if abs(round(means[0], 3) - round(means[1], 3)) <= round(floor.mean, 3):
                        assert pair.better is None and (a.group.label in best) == (b.group.label in best)
    within = [(a, b) for a in rows for b in rows if better_of((a.group, b.group), COLUMN[GAP], "accuracy") is None]
    assert "–" in comparison_table(key, *within[0], side_by_side(*within[0], columns))


def test_a_chain_shares_rank_and_bold():
    """a and c lie further apart than the floor, but b is within it of both."""
    places = {"a": 0.51, "b": 0.53, "c": 0.55, "d": 0.7}
    runs = [make_run("retrain", seed, {"forget_accuracy": value}) for seed, value in enumerate((0.48, 0.5, 0.52))]
    for name, value in places.items():
        runs += [make_run(name, seed, {"forget_accuracy": run.scores["forget_accuracy"] + value - 0.5})
                 for seed, run in enumerate(runs[:3])]  # fmt: skip
    groups = groups_of(*runs)
    found = standing(groups, COLUMN["forget_"], "accuracy")
    assert found.floor.mean == pytest.approx((0.02 + 0.02 + 0.04) / 3)
    assert found.ranks == (None, 1, 1, 1, 4)
    steps = standing(groups_of(*(run for run in runs if run.method != "b")), COLUMN["forget_"], "accuracy")
    assert steps.ranks == (None, 1, 2, 3), "without b they are told apart"


def test_a_difference_beyond_the_floor_but_within_noise_is_none():
    retrained = seeded("retrain", {"forget_accuracy": 0.5}, spread=0.001)
    noisy = [make_run("a", seed, {"forget_accuracy": 0.5 + step}) for seed, step in enumerate((0.3, -0.25, 0.05))]
    steady = seeded("b", {"forget_accuracy": 0.6}, spread=0.001)
    groups = groups_of(*retrained, *noisy, *steady)
    assert standing(groups, COLUMN["forget_"], "accuracy").ranks == (None, 1, 1)


def test_the_floor_of_the_gap_is_the_gap_between_retrained_models(rng):
    runs = mini_runs(rng)
    groups = groups_of(*runs)
    retrained = [run.scores for run in runs if run.method == "retrain"]
    assert set(gap_parts("accuracy")) == set(PARTS)
    pairs = [np.mean([abs(a[part] - b[part]) for part in PARTS]) for a in retrained for b in retrained if a is not b]
    cell = markdown_rows(groups)["retrain"]["Gap ↓"]
    assert cell.startswith(f"{np.mean(pairs):.3f} [")
    assert "0.000" not in cell.split()[0]


def test_the_printed_gap_can_be_recomputed_from_the_row(rng):
    """The mean is that of the row of the table by seed, and a signed gap that of the two means."""
    text = markdown_table(groups_of(*mini_runs(rng)), "CIFAR-100", "accuracy")
    main, by_seed = (markdown_rows_of(part) for part in text.split("**Gap to retrain by seed"))
    for name, row in by_seed.items():
        seeds = [float(value) for header, value in row.items() if header.startswith("seed")]
        assert float(row["Mean"]) == pytest.approx(np.mean(seeds), abs=1.1e-3)
        assert row["95 % interval"].replace("\\", "") in main[name]["Gap ↓"] and row["Mean"] in main[name]["Gap ↓"]
        if name not in ("retrain", "original"):
            own, other = (float(re.search(r"[\d.]+", main[each]["D_f →"])[0]) for each in (name, "retrain"))
            assert float(re.search(r"\((.*)\)", main[name]["D_f →"])[1]) == pytest.approx(own - other, abs=1.1e-3)
    assert "mean over seeds of each run's average absolute difference" in text and "Student's t over seeds" in text


@pytest.mark.parametrize("alike", ["alike", "other machine", "other load", "not recorded"])
def test_processor_seconds_are_bold_only_under_like_conditions(alike):
    runs = []
    for name, seconds in {"retrain": 50.0, "a": 5.0, "b": 7.0, "c": 7.1}.items():
        cost, hardware = {"busy": 0.5, "cpu_seconds": seconds}, {"cpu": "one", "device": "cpu", "threads": 1}
        if name == "b":
            cost |= {"busy": 0.9} if alike == "other load" else {}
            cost = {} if alike == "not recorded" else cost
            hardware |= {"cpu": "another"} if alike == "other machine" else {}
        for seed, step in enumerate((-0.4, 0.1, 0.3)):
            scores = {"unlearn_seconds": 3 * seconds + 0.001 * step, "compute_seconds": seconds + step}
            runs.append(make_run(name, seed, scores, cost=cost, hardware=hardware))
    rows = markdown_rows(groups_of(*runs))
    bold = [name for name in "abc" if "**" in rows[name]["CPU/GPU s ↓"]]
    assert bold == (["a"] if alike == "alike" else [])
    assert not any("**" in row["Seconds ↓"] for row in rows.values()), "wall seconds never are"
    assert "~" not in rows["retrain"]["CPU/GPU s ↓"]


def test_intervals_and_floors_stand_in_a_terminal_too(rng):
    groups = groups_of(*mini_runs(rng))
    text = draw(groups, 300, metric="accuracy")
    assert re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", text) and re.search(r"±\d\.\d{3} ~\d\.\d{3}", text)
    assert "Rank" in text and "95 % interval" in text


def test_plots_show_the_floor_around_the_retrained_model(rng, tmp_path):
    from mubench_hf.leaderboard.plot import plot_html
    from mubench_hf.results.plots import forgetting_utility_figure

    runs = mini_runs(rng)
    groups = groups_of(*runs)
    retrained = [run.scores for run in runs if run.method == "retrain"]

    def floor(key):
        return np.mean([abs(a[key] - b[key]) for a in retrained for b in retrained if a is not b])

    (axes,) = forgetting_utility_figure(groups, metric="accuracy").axes
    across, up = axes.patches
    assert across.get_width() == pytest.approx(2 * floor("forget_accuracy"))
    assert up.get_height() == pytest.approx(2 * floor("test_accuracy"))
    board = make_board([Entry(run, tmp_path / f"{run.name}.json", "", None) for run in runs])
    ((key, rows),) = board.tables.items()
    assert plot_html(key, rows).count("<rect") == 2
    alone = make_board([Entry(run, tmp_path / f"{run.name}.json", "", None) for run in runs if run.seed == 0])
    assert "<rect" not in plot_html(key, alone.tables[key])


def test_a_comparison_with_the_retrained_model_has_no_floor_and_no_bold():
    """Of the retrained model it is trivially the best, in every seed."""
    runs = seeded("retrain", {"tug_of_war": 1.0}) + seeded("a", {"tug_of_war": 0.9}) + seeded("b", {"tug_of_war": 0.2})
    runs = [replace(run, scores={**run.scores, "zrf": 0.3 + 0.1 * (run.method == "b")}) for run in runs]
    rows = markdown_rows(groups_of(*runs))
    (header,) = (each for each in rows["a"] if each.startswith("ToW"))
    assert "~" not in rows["retrain"][header] and not any("**" in row[header] for row in rows.values())
    assert "**" in rows["a"]["ZRF →"]
    assert "compared with the retrained model themselves" in markdown_table(groups_of(*runs))
