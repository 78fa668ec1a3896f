import random
import statistics

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate, check_comparable, main_metric
from mubench_hf.runs.result import RunResult


def make_run(method="scrub", seed=0, scores=None, **changes):
    values = dict(task="cifar100", variant="full", data_fingerprint="f", deletion_sha256="d", model="vit", del_ratio=5)
    values |= dict(status="ok", scores=scores or {}, method=method, seed=seed)
    if changes.get("status", "ok") != "ok":
        values["status_reason"] = "it went wrong"
    return RunResult(**(values | changes))


def by_method(runs):
    (groups,) = aggregate(runs)
    return {group.method: group for group in groups}


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_mean_and_sample_deviation(seeds):
    values = [random.gauss(0.5, 0.2) for _ in range(seeds)]
    runs = [make_run(seed=seed, scores={"zrf": value}) for seed, value in enumerate(values)]
    random.shuffle(runs)
    group = by_method(runs)["scrub"]
    score = group.score("zrf")
    assert score.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert score.std == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert score.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert score.count == seeds and group.seeds == tuple(range(seeds)) and score.reasons == ()


def test_one_seed_has_no_deviation():
    score = by_method([make_run(scores={"zrf": 0.25})])["scrub"].score("zrf")
    assert (score.mean, score.std, score.count) == (0.25, None, 1)


def test_gap_to_retrain_is_signed():
    a, b, c, d = (random.random() for _ in range(4))
    groups = by_method(
        [
            make_run("retrain", 0, {"zrf": a, "mia": 0.5}),
            make_run("retrain", 1, {"zrf": b, "mia": 0.5}),
            make_run("scrub", 0, {"zrf": c, "other": 1.0}),
            make_run("scrub", 1, {"zrf": d, "other": 1.0}),
        ]
    )
    assert groups["scrub"].gap_to_retrain("zrf") == pytest.approx((c + d) / 2 - (a + b) / 2, abs=1e-12)
    assert groups["retrain"].gap_to_retrain("zrf") == 0
    assert groups["scrub"].gap_to_retrain("mia") is None
    assert groups["scrub"].gap_to_retrain("other") is None


def test_no_gap_without_a_usable_retrained_model():
    runs = [make_run(scores={"zrf": 0.5})]
    assert by_method(runs)["scrub"].gap_to_retrain("zrf") is None
    runs += [make_run("retrain", scores={"zrf": 0.5}, status="diverged")]
    assert by_method(runs)["scrub"].gap_to_retrain("zrf") is None


def test_diverged_runs_are_not_averaged_with_ok_ones():
    group = by_method(
        [
            make_run(seed=0, scores={"zrf": 0.4}),
            make_run(seed=1, scores={"zrf": 100.0}, status="diverged"),
            make_run(seed=2, scores={"zrf": 0.6}),
        ]
    )["scrub"]
    assert group.status == "diverged 1/3" and group.averaged == "ok"
    assert group.score("zrf").mean == pytest.approx(0.5) and group.score("zrf").count == 2
    assert group.seeds == (0, 1, 2) and group.status_reasons == ("it went wrong",)


def test_all_diverged_are_averaged_and_marked():
    runs = [make_run(seed=seed, scores={"zrf": seed / 4}, status="diverged") for seed in range(3)]
    group = by_method([*runs, make_run(seed=3, scores={"zrf": 9.0}, status="failed")])["scrub"]
    assert group.status == "diverged 3/4, failed 1/4" and group.averaged == "diverged"
    assert group.score("zrf").mean == pytest.approx(0.25) and group.score("zrf").count == 3


def test_failed_runs_have_no_mean_but_a_reason():
    group = by_method([make_run(scores={"zrf": 9.0}, status="failed")])["scrub"]
    assert group.status == "failed 1/1" and group.averaged == "failed"
    assert group.score("zrf").mean is None and group.score("zrf").reasons == ("it went wrong",)


def test_missing_scores_leave_the_mean_over_the_others():
    runs = [
        make_run(seed=0, scores={"zrf": 0.25}),
        make_run(seed=1, scores={"zrf": None}, reasons={"zrf": "no logits"}),
        make_run(seed=2, scores={"zrf": 0.75}),
        make_run(seed=3, scores={}),
    ]
    score = by_method(runs)["scrub"].score("zrf")
    assert (score.mean, score.count) == (0.5, 2)
    assert score.std == pytest.approx(statistics.stdev([0.25, 0.75]))
    assert score.reasons == ("no logits", "not reported by the run")
    nowhere = by_method(runs)["scrub"].score("rmia")
    assert nowhere.mean is None and nowhere.reasons == ("not reported by the run",)


def test_order_is_original_retrain_methods_by_name():
    names = ["original", "retrain", "bad_teaching", "finetune", "scrub"]
    for _ in range(5):
        runs = [make_run(name, seed) for name in names for seed in range(2)]
        random.shuffle(runs)
        (groups,) = aggregate(runs)
        assert [group.method for group in groups] == names


@pytest.mark.parametrize("field", ["task", "variant", "model", "del_ratio"])
def test_what_cannot_be_compared_is_split_and_never_joined(field):
    other = {"task": "imdb", "variant": "mini", "model": "resnet", "del_ratio": 6}[field]
    runs = [
        make_run("retrain", scores={"zrf": 0.5}),
        make_run("scrub", scores={"zrf": 0.5}, **{field: other}),
        make_run("scrub", scores={"zrf": 0.1}),
    ]
    tables = aggregate(runs)
    assert sorted([group.method for group in table] for table in tables) == [["retrain", "scrub"], ["scrub"]]
    (alone,) = (table[0] for table in tables if len(table) == 1)
    assert getattr(alone, field) == other and alone.score("zrf").mean == 0.5
    assert alone.gap_to_retrain("zrf") is None
    with pytest.raises(BadInput, match=field):
        check_comparable([group for table in tables for group in table])


@pytest.mark.parametrize("field", ["data_fingerprint", "deletion_sha256"])
def test_runs_on_different_data_are_refused(field):
    runs = [make_run("retrain"), make_run("scrub", **{field: "another"})]
    with pytest.raises(BadInput, match=f"{field} .*another"):
        aggregate(runs)
    # Another ratio has another deletion list, and stands in another table.
    assert len(aggregate([runs[0], make_run("scrub", **{field: "another", "del_ratio": 6})])) == 2


def test_a_run_that_comes_twice_is_refused():
    with pytest.raises(BadInput, match="cifar100-vit-scrub-df5pct-s1"):
        aggregate([make_run(seed=1), make_run(seed=0), make_run(seed=1)])


def test_nothing_to_show():
    assert aggregate([]) == []
    with pytest.raises(BadInput, match="no results"):
        check_comparable([])


def test_main_metric_is_what_all_three_splits_share():
    def main(scores):
        return main_metric(aggregate([make_run(scores=dict.fromkeys(scores, 0.5))])[0])

    splits = ("test", "forget", "retain")
    assert main([f"{split}_rouge_l" for split in splits]) == "rouge_l"
    assert main([f"{split}_accuracy" for split in splits] + ["forget_quality", "retrain_time_ratio"]) == "accuracy"
    assert main(["zrf"]) is None
    with pytest.raises(BadInput, match="accuracy, macro_f1"):
        main([f"{split}_{metric}" for split in splits for metric in ("accuracy", "macro_f1")])
