"""Scores of a run from its outputs: each is the metric's own value, and what is missing says why."""

import numpy as np
import pytest

from mubench_hf.kinds.measures import truth_logits
from mubench_hf.metrics import get_metric
from mubench_hf.runs.choice import choose
from mubench_hf.runs.scores import score


def outputs(seed=None, classes=6, rows=(20, 90, 60), gain=2.0):
    rng = np.random.default_rng(seed)
    made = {}
    for split, size in zip(("forget", "retain", "test"), rows, strict=True):
        labels = rng.integers(classes, size=size)
        logits = rng.normal(size=(size, classes))
        logits[np.arange(size), labels] += gain
        made |= {f"{split}_logits": logits.astype(np.float32), f"{split}_labels": labels}
    made["chance"] = np.asarray(1 / classes)
    return made | {"incompetent_forget_logits": rng.normal(size=(rows[0], classes)).astype(np.float32)}


def call(name, **arguments):
    return get_metric(name).compute(**arguments)[name]


def test_each_score_is_its_metrics_value():
    own, of_retrain, of_original = outputs(), outputs(gain=1.0), outputs(gain=4.0)
    original, _ = score(of_original, metrics=("accuracy",), method="original", seed=3)
    retrain, _ = score(of_retrain, metrics=("accuracy",), method="retrain", seed=3, seconds=8.0, original=original)
    scores, reasons = score(
        own, metrics=("accuracy",), method="scrub", seed=3, seconds=2.0, original=original, retrain=retrain
    )
    assert not reasons and choose(["accuracy"]).scores <= set(scores)
    logits = {key: value for key, value in own.items() if key not in ("incompetent_forget_logits", "chance")}
    forget_test = {key: value for key, value in logits.items() if not key.startswith("retain")}
    forget_retain = {key: value for key, value in logits.items() if not key.startswith("test")}
    assert scores["mia_confidence_svc"] == call("mia_confidence_svc", **logits, seed=3)
    assert scores["mia_loss_auc"] == call("mia_loss_auc", **forget_test)
    assert scores["knowledge_gap"] == call("knowledge_gap", **forget_retain)
    incompetent = own["incompetent_forget_logits"]
    assert scores["zrf"] == call("zrf", forget_logits=own["forget_logits"], incompetent_forget_logits=incompetent)
    right = (own["test_logits"].argmax(1) == own["test_labels"]).mean()
    assert scores["test_accuracy"] == pytest.approx(right)
    assert scores["unlearning_score"] == call(
        "unlearning_score", test_score=scores["test_accuracy"], forget_score=scores["forget_accuracy"],
        original_test_score=original["test_accuracy"], chance=1 / 6,
    )  # fmt: skip
    keys = ("forget_accuracy", "retain_accuracy", "test_accuracy", "mia_confidence_svc")
    assert scores["average_gap"] == pytest.approx(np.mean([abs(scores[key] - retrain[key]) for key in keys]))
    assert scores["unlearn_seconds"] == 2.0 and scores["retrain_time_ratio"] == 0.25


def test_without_references_the_rest_is_scored_and_the_reasons_name_what_is_missing():
    scores, reasons = score(outputs(), metrics=("accuracy",), method="scrub", seed=0)
    missing = {"unlearning_score", "average_gap", "unlearn_seconds", "retrain_time_ratio"}
    assert {key for key, value in scores.items() if value is None} == set(reasons) == missing
    assert "original_test_score" in reasons["unlearning_score"]
    assert "retrain_forget_score" in reasons["average_gap"]


def test_a_method_may_lose_more_utility_where_it_says_so():
    own = outputs()
    true = np.eye(6, dtype=np.float32)[own["test_labels"]]
    original, _ = score(own | {"test_logits": true}, metrics=("accuracy",), method="original", seed=0)
    # 18 of 60 test rows answered wrongly: a drop of 30 %.
    ruined = own | {"test_logits": np.concatenate([-true[:18], true[18:]])}
    by_method = {
        method: score(ruined, metrics=("accuracy",), method=method, seed=0, original=original)[0]["unlearning_score"]
        for method in ("scrub", "neggrad")
    }
    assert by_method["scrub"] == 0 < by_method["neggrad"]


def test_useless_outputs_give_no_number():
    broken = outputs() | {"forget_logits": np.full((20, 6), np.nan, dtype=np.float32)}
    original, _ = score(outputs(), metrics=("accuracy",), method="original", seed=0)
    scores, reasons = score(broken, metrics=("accuracy",), method="neggrad", seed=0, seconds=1.0, original=original)
    assert scores["test_accuracy"] is not None and scores["retain_accuracy"] is not None
    touched = {"forget_accuracy", "mia_confidence_svc", "mia_loss_auc", "zrf", "knowledge_gap", "unlearning_score",
               "average_gap", "retrain_time_ratio", "mia_loss_auc_matched"}  # fmt: skip
    assert {key for key, value in scores.items() if value is None} == touched == set(reasons)
    assert all(reason.strip() for reason in reasons.values())


def test_an_untimed_run_says_so():
    scores, reasons = score(outputs(), metrics=("accuracy",), method="original", seed=0)
    assert scores["unlearn_seconds"] is None and reasons["unlearn_seconds"] == "the original unlearns nothing"


def test_scoring_twice_gives_the_same_numbers():
    own = outputs()
    first, second = (score(own, metrics=("accuracy",), method="retrain", seed=9, seconds=1.0) for _ in range(2))
    assert first == second


def texts(rng, rows):
    words = np.array(["a", "cat", "sat", "on", "the", "mat", "and", "slept"])
    return np.array([" ".join(rng.choice(words, size=6)) for _ in range(rows)])


def generated(seed=None):
    """Outputs of a run that generates texts."""
    rng = np.random.default_rng(seed)
    made = {"chance": np.asarray(0.0), "incompetent_forget_divergences": rng.random(20)}
    for split, size in zip(("forget", "retain", "test"), (20, 90, 60), strict=True):
        logits, labels = truth_logits(rng.uniform(0.1, 3, size))
        tokens = rng.integers(5, size=(2, size, 4))
        made |= {f"{split}_logits": logits, f"{split}_labels": labels}
        made |= {f"{split}_predicted_tokens": tokens[0], f"{split}_label_tokens": tokens[1]}
        made |= {f"{split}_predictions": texts(rng, size), f"{split}_references": texts(rng, size)}
    return made


def test_scores_of_texts_are_their_metrics_values():
    own, metrics = generated(), ("rouge_l", "token_accuracy", "reference_probability")
    reference, _ = score(generated(), metrics=metrics, method="retrain", seed=3, seconds=8.0)
    scores, reasons = score(
        own, metrics=metrics, method="scrub", seed=3, seconds=2.0, original=reference, retrain=reference
    )
    assert reasons.keys() == {"mia_loss_auc_matched"}, "texts have no classes"
    for split in ("forget", "retain", "test"):
        given = (own[f"{split}_predictions"], own[f"{split}_references"])
        rouge = get_metric("rouge_l").compute(*given)
        assert {name: scores[f"{split}_{name}"] for name in rouge} == rouge
        tokens = (own[f"{split}_predicted_tokens"], own[f"{split}_label_tokens"])
        assert scores[f"{split}_token_accuracy"] == call(
            "token_accuracy", predicted_tokens=tokens[0], label_tokens=tokens[1]
        )
        probability = np.exp(own[f"{split}_logits"][:, 0].astype(float)).mean()
        assert scores[f"{split}_reference_probability"] == pytest.approx(probability, rel=1e-5)
    rows = [get_metric("rouge_l").row_scores(own[f"{s}_predictions"], own[f"{s}_references"])["rouge_l"]
            for s in ("forget", "retain")]  # fmt: skip
    pairs = (rows[0][:, None] > rows[1]) + 0.5 * (rows[0][:, None] == rows[1])
    assert scores["knowledge_gap"] == pytest.approx(pairs.mean()), "from graded rows, not from the logits"
    assert scores["zrf"] == pytest.approx(1 - own["incompetent_forget_divergences"].mean())
    losses = [-own[f"{split}_logits"][:, 0] for split in ("forget", "test")]
    members = (losses[0][:, None] < losses[1]) + 0.5 * (losses[0][:, None] == losses[1])
    assert scores["mia_loss_auc"] == pytest.approx(members.mean())
    assert scores["unlearning_score"] == call(
        "unlearning_score", test_score=scores["test_rouge_l"], forget_score=scores["forget_rouge_l"],
        original_test_score=reference["test_rouge_l"], chance=0.0,
    )  # fmt: skip


def test_a_split_that_cannot_be_scored_says_why():
    own = generated()
    own["test_predictions"] = own["test_predictions"][:5]
    scores, reasons = score(own, metrics=("rouge_l",), method="scrub", seed=3)
    assert scores["test_rouge_l"] is None and "5 predictions for 60 references" in reasons["test_rouge_l"]
    assert scores["forget_rouge_l"] is not None and "test_score" in reasons["unlearning_score"]
