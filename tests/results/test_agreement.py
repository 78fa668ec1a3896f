"""Stated scores against recomputed ones: equal on one machine, close on another, and times as said."""

import dataclasses
import random

import pytest
from made_up import made_up

from mubench_hf.metrics import list_metrics
from mubench_hf.runs.agreement import (
    CLOSE,
    EXACT,
    LAST_DIGITS,
    LEAST,
    UNKNOWN,
    WRONG,
    check_scores,
    external_scores,
    made_alike,
    weights_tolerance,
)
from mubench_hf.runs.choice import sources_of
from mubench_hf.runs.environment import describe_environment


def changed(result, **scores):
    """Return the result with other scores; ``None`` takes one out of reach."""
    merged = {**result.scores, **scores}
    return dataclasses.replace(
        result, scores=merged, reasons={key: "for a reason" for key, value in merged.items() if value is None}
    )


def checks(stated, found, rows=10**6, alike=True, **where):
    tolerance = weights_tolerance(rows=rows, alike=alike)
    return check_scores(stated, found.scores, found.reasons, **{"tolerance": tolerance} | where)


def verdicts(stated, found, rows=10**6, alike=True, **where):
    return {check.key: check.agrees for check in checks(stated, found, rows, alike, **where)}


def test_equal_scores_agree_and_every_changed_one_is_found():
    _, result = made_up()
    assert set(verdicts(result, result).values()) == {EXACT}
    key = random.choice([key for key, value in result.scores.items() if value is not None])
    other = changed(result, **{key: result.scores[key] * (1 - 1e-12)})
    assert {name for name, agrees in verdicts(other, result).items() if agrees == WRONG} == {key}


@pytest.mark.parametrize(("rows", "allowed"), [(50, 2 / 50), (10**6, LEAST)])
def test_another_machine_may_turn_over_two_rows(rows, allowed):
    _, result = made_up()
    inside, outside = (changed(result, zrf=result.scores["zrf"] + allowed * factor) for factor in (0.9, 1.1))
    assert verdicts(result, inside, rows, alike=False)["zrf"] == CLOSE
    assert verdicts(result, outside, rows, alike=False)["zrf"] == WRONG
    assert verdicts(result, inside, rows, alike=True)["zrf"] == WRONG
    large, near = (
        changed(result, test_frechet_distance=900.0),
        changed(result, test_frechet_distance=900.0 + 800 * allowed),
    )
    assert verdicts(large, near, rows, alike=False)["test_frechet_distance"] == CLOSE


def test_times_are_never_close():
    _, result = made_up()
    other = changed(result, unlearn_seconds=result.scores["unlearn_seconds"] + 1e-9)
    assert verdicts(result, other, rows=2, alike=False)["unlearn_seconds"] == WRONG


def test_what_compares_with_a_missing_model_is_not_judged():
    _, result = made_up()
    stated = changed(result, average_gap=random.random(), retrain_time_ratio=random.random(), unlearning_score=0.5)
    found = changed(stated, average_gap=None, retrain_time_ratio=None, unlearning_score=None, zrf=None)
    seen = verdicts(stated, found, missing={"retrain"})
    assert seen["average_gap"] == seen["retrain_time_ratio"] == UNKNOWN
    assert seen["unlearning_score"] == seen["zrf"] == WRONG, "they need no retrained model"
    assert verdicts(stated, found, missing={"original"})["unlearning_score"] == UNKNOWN
    assert set(verdicts(found, found).values()) == {EXACT}
    assert verdicts(found, stated)["zrf"] == UNKNOWN, "nothing was claimed"


def test_a_stated_score_that_nothing_computes_is_wrong():
    _, result = made_up()
    assert verdicts(changed(result, brilliance=1.0), result)["brilliance"] == WRONG


def test_a_score_of_a_metric_that_came_later_is_no_difference():
    _, result = made_up()
    later = changed(result, added_later=random.random())
    assert verdicts(result, later) == verdicts(result, result), "it was never stated"
    withheld = changed(result, zrf=None)
    (check,) = [check for check in checks(withheld, result) if check.key == "zrf"]
    assert check.withheld and check.agrees == UNKNOWN and check.note == "not stated: for a reason"
    assert not any(check.withheld for check in checks(result, later))


def test_scores_of_a_metric_from_outside_are_not_judged():
    _, result = made_up()
    origin = {"name": "mine.py", "sha256": "d" * 64}
    stated = changed(result, brilliance=1.0, forget_wit=0.5, dullness=0.2)
    stated = dataclasses.replace(stated, metrics={"brilliance": origin, "wit": origin})
    assert external_scores(stated) == {"brilliance", "forget_wit"}
    seen = verdicts(stated, result, outside=external_scores(stated))
    assert (seen["brilliance"], seen["forget_wit"], seen["dullness"]) == (UNKNOWN, UNKNOWN, WRONG)


def test_the_same_outputs_give_the_same_scores_but_for_last_digits():
    _, result = made_up()
    for factor, expected in ((0.9, CLOSE), (1.1, WRONG)):
        other = changed(result, zrf=result.scores["zrf"] + factor * LAST_DIGITS)
        assert verdicts(result, other, tolerance=LAST_DIGITS)["zrf"] == expected
    recomputed = {check.key for check in checks(result, result) if check.recomputed}
    assert recomputed == {key for key, value in result.scores.items() if value is not None} - {"unlearn_seconds"}


def test_references_are_those_that_a_metric_names():
    assert {key: sources_of(key) for key in (*list_metrics(), "retrain_time_ratio") if sources_of(key)} == {
        "average_gap": {"retrain"}, "unlearning_score": {"original"}, "retrain_time_ratio": {"retrain"}
    }  # fmt: skip
    assert not sources_of("test_accuracy") and not sources_of("unlearn_seconds")


def test_alike_is_the_same_processor_threads_and_packages():
    hardware, versions = describe_environment()
    _, result = made_up()
    same = dataclasses.replace(result, hardware={**hardware, "threads": 1}, versions=versions)
    assert made_alike(same)
    for other in (
        {"hardware": {**same.hardware, "cpu": "another"}},
        {"hardware": {**same.hardware, "threads": hardware["cpu_count"] + 1}},
        {"versions": {**versions, "torch": "0.1"}},
    ):
        assert not made_alike(dataclasses.replace(same, **other))
