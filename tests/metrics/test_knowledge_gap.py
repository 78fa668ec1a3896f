import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mubench_hf.metrics.knowledge_gap import knowledge_gap


def test_agrees_with_the_auc_over_all_pairs(rows):
    forget, retain = rows(70), rows(130)
    right = [z.argmax(axis=1) == y for z, y in (forget, retain)]
    pairs = [(f > r) + 0.5 * (f == r) for f in right[0].astype(int) for r in right[1].astype(int)]
    result = knowledge_gap(*forget, *retain)
    assert result == {"knowledge_gap": pytest.approx(np.mean(pairs), abs=1e-12)}
    assert result["knowledge_gap"] == pytest.approx(
        roc_auc_score([1] * 70 + [0] * 130, np.concatenate(right)), abs=1e-12
    )
    assert type(result["knowledge_gap"]) is float


def test_limits(rows):
    (forget, _), (retain, _) = rows(40), rows(90)
    known_f, known_r = forget.argmax(axis=1), retain.argmax(axis=1)
    assert knowledge_gap(forget, (known_f + 1) % 5, retain, known_r) == {"knowledge_gap": 0.0}
    assert knowledge_gap(forget, known_f, retain, (known_r + 1) % 5) == {"knowledge_gap": 1.0}
    assert knowledge_gap(forget, known_f, retain, known_r) == {"knowledge_gap": 0.5}


def test_equal_distributions_give_one_half(rows):
    assert abs(knowledge_gap(*rows(10_000), *rows(10_000))["knowledge_gap"] - 0.5) < 0.02  # seven standard deviations


def test_swapping_the_groups_mirrors_it_and_a_constant_changes_nothing(rows):
    forget, retain = rows(60), rows(50)
    value = knowledge_gap(*forget, *retain)["knowledge_gap"]
    assert knowledge_gap(*retain, *forget)["knowledge_gap"] == pytest.approx(1 - value, abs=1e-14)
    assert knowledge_gap(forget[0] + 33, forget[1], retain[0] - 7, retain[1])["knowledge_gap"] == value


@pytest.mark.parametrize("group", ["forget", "retain"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "retain": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        knowledge_gap(*groups["forget"], *groups["retain"])


def test_groups_of_different_models_are_refused(rows):
    (forget, labels), retain = rows(20), rows(20)
    with pytest.raises(ValueError, match="Numbers of classes differ, {'forget': 6, 'retain': 5}"):
        knowledge_gap(np.pad(forget, ((0, 0), (0, 1))), labels, *retain)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(90)
    groups = rng.permutation(["forget", "retain", "test"] * 30)
    metric = load("knowledge_gap")
    expected = knowledge_gap(*(a[groups == g] for g in ("forget", "retain") for a in (logits, labels)))
    assert metric.compute(predictions=logits, references=labels, groups=groups) == expected
    result = metric.compute(predictions=logits, references=labels, groups=["forget"] * 90)
    assert result["knowledge_gap"] is None and result["knowledge_gap_reason"].startswith("retain_logits is empty")
    with pytest.raises(ValueError, match=r"Unknown groups \['val'\]; allowed are \['forget', 'retain', 'test'\]"):
        metric.compute(predictions=logits, references=labels, groups=["val"] * 90)


def test_graded_correctness_is_scikit_learns_auc(rng):
    forget, retain = (np.round(rng.random(size), 1) for size in (40, 90))  # rounded, so that some tie
    found = knowledge_gap(None, None, None, None, forget, retain)["knowledge_gap"]
    truth = np.r_[np.ones(40), np.zeros(90)]
    assert found == pytest.approx(roc_auc_score(truth, np.r_[forget, retain]))


def test_right_or_wrong_is_a_case_of_graded_correctness(rng):
    logits = {name: rng.normal(size=(size, 4)) for name, size in (("forget", 30), ("retain", 50))}
    labels = {name: rng.integers(4, size=len(values)) for name, values in logits.items()}
    right = {name: (logits[name].argmax(axis=1) == labels[name]).astype(float) for name in logits}
    plain = knowledge_gap(logits["forget"], labels["forget"], logits["retain"], labels["retain"])
    graded = knowledge_gap(None, None, None, None, right["forget"], right["retain"])
    assert graded["knowledge_gap"] == pytest.approx(plain["knowledge_gap"])


@pytest.mark.parametrize("spoiled", [[0.5, 1.5], [np.nan, 0.5], [], [[0.5]], ["a"]])
def test_impossible_correctness_is_named(spoiled):
    with pytest.raises(ValueError, match="forget_correctness"):
        knowledge_gap(None, None, None, None, spoiled, [0.5])
