"""Stated scores against recomputed ones: equal on one machine, close on another, and times as said."""

import dataclasses
import random

import numpy as np
from made_up import made_up

from mubench_hf.metrics import list_metrics
from mubench_hf.metrics.parameters import SPLITS, every_source
from mubench_hf.runs.agreement import (
    CLOSE,
    EXACT,
    FLOOR,
    LAST_DIGITS,
    UNKNOWN,
    WRONG,
    check_scores,
    external_scores,
    weights_tolerances,
)
from mubench_hf.runs.choice import sources_of
from mubench_hf.runs.scores import score


def changed(result, **scores):
    """Return the result with other scores; ``None`` takes one out of reach."""
    merged = {**result.scores, **scores}
    return dataclasses.replace(
        result, scores=merged, reasons={key: "for a reason" for key, value in merged.items() if value is None}
    )


def checks(stated, found, **where):
    return check_scores(stated, found.scores, found.reasons, **{"tolerance": 0.0} | where)


def verdicts(stated, found, **where):
    return {check.key: check.agrees for check in checks(stated, found, **where)}


def test_equal_scores_agree_and_every_changed_one_is_found():
    _, result = made_up()
    assert set(verdicts(result, result).values()) == {EXACT}
    key = random.choice([key for key, value in result.scores.items() if value is not None])
    other = changed(result, **{key: result.scores[key] * (1 - 1e-12)})
    assert {name for name, agrees in verdicts(other, result).items() if agrees == WRONG} == {key}


def test_each_score_has_its_own_tolerance_and_says_it():
    _, result = made_up()
    allowed = {"zrf": 0.02, "test_frechet_distance": 1e-3}
    inside, outside = (changed(result, zrf=result.scores["zrf"] + 0.02 * factor) for factor in (0.9, 1.1))
    assert verdicts(result, inside, tolerance=allowed)["zrf"] == CLOSE
    assert verdicts(result, outside, tolerance=allowed)["zrf"] == WRONG
    assert {check.key: check.tolerance for check in checks(result, inside, tolerance=allowed)}["zrf"] == 0.02
    large, near = (changed(result, test_frechet_distance=value) for value in (900.0, 900.8))
    assert verdicts(large, near, tolerance=allowed)["test_frechet_distance"] == CLOSE, "relative where it is large"


def test_times_are_never_close():
    _, result = made_up()
    other = changed(result, unlearn_seconds=result.scores["unlearn_seconds"] + 1e-9)
    assert verdicts(result, other, tolerance=1.0)["unlearn_seconds"] == WRONG


def measured(rng, margin, rows=40):
    """Return outputs whose two best logits of a row of D_f lie ``margin`` apart, the right one first."""
    found = {"chance": np.asarray(0.2)}
    for split in ("forget", "retain", "test"):
        labels = rng.integers(5, size=rows)
        logits = rng.normal(size=(rows, 5)) + 20 * np.eye(5)[labels]
        found |= {f"{split}_logits": logits, f"{split}_labels": labels}
    first, label = found["forget_logits"][0], found["forget_labels"][0]
    first[(label + 1) % 5] = first[label] - margin
    return found


def of_outputs(outputs):
    return score(outputs, metrics=("accuracy",), method="scrub", seed=0)[0]


def test_the_tolerance_is_what_rounding_can_do_to_the_outputs_at_hand():
    rng = np.random.default_rng()
    clear, tie = (weights_tolerances(measured(rng, margin), of_outputs, eps=1e-7) for margin in (5.0, 0.0))
    assert clear["forget_accuracy"] == FLOOR < 1 / 40 <= tie["forget_accuracy"]
    assert tie["test_accuracy"] == FLOOR, "no row of test nearly ties"
    half = weights_tolerances(measured(rng, 0.05), of_outputs, eps=8e-3)
    assert half["forget_accuracy"] >= 1 / 40, "weights of 16 bits round more"


def test_where_texts_are_written_two_rows_may_turn_over():
    own = measured(np.random.default_rng(), 5.0)
    texts = {f"{split}_{name}": np.array(["a b"] * 40) for split in SPLITS for name in ("predictions", "references")}
    assert weights_tolerances(own | texts, of_outputs, eps=1e-7)["forget_accuracy"] == 2 / 40
    known = {name: value for name, value in texts.items() if name.endswith("references")}
    assert weights_tolerances(own | known, of_outputs, eps=1e-7)["forget_accuracy"] == FLOOR


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
    assert sources_of("average_gap") == sources_of("retrain_time_ratio") == {"retrain"}
    assert sources_of("unlearning_score") == {"original"} and not sources_of("mia_confidence_svc")
    assert all(sources_of(key) <= every_source() for key in list_metrics())
    assert not sources_of("test_accuracy") and not sources_of("unlearn_seconds")
