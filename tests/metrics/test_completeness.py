import numpy as np
import pytest

from mubench_hf.metrics.completeness import completeness

WORDS = ["cat", "dog", "cats", "", "Cat"]


def by_logits(test, forget):
    return completeness(*test, *forget)


def test_agrees_with_counting(rows, rng):
    test, forget = [[rows(50)[0] for _ in range(2)], [rows(30)[0] for _ in range(2)]]
    found = by_logits(test, forget)
    for name, (own, other) in (("completeness", test), ("completeness_on_forget", forget)):
        same = sum(int(np.argmax(a) == np.argmax(b)) for a, b in zip(own, other, strict=True))
        assert found[name] == pytest.approx(same / len(own))
    assert {*found} == {"completeness", "completeness_on_forget"}


def test_limits_and_what_changes_nothing(rows, rng):
    (own, _), (other, _) = rows(40), rows(40)
    assert set(by_logits((own, own), (own, own)).values()) == {1.0}
    opposite = -own
    assert by_logits((own, opposite), (own, own))["completeness"] == 0
    expected, order = by_logits((own, other), (other, own)), rng.permutation(40)
    assert expected["completeness"] == expected["completeness_on_forget"], "symmetric"
    shifted = own * 4 + rng.integers(-9, 9, size=(40, 1))
    assert by_logits((shifted[order], other[order]), (other, own)) == expected


def test_texts_come_before_images_and_these_before_classes(rows, rng):
    (own, _), (other, _) = rows(20), rows(20)
    logits = (own, own, own, own)
    said, wanted = (rng.choice(WORDS, 20).tolist() for _ in range(2))
    texts = {"test_predictions": said, "retrain_test_predictions": wanted,
             "forget_predictions": said, "retrain_forget_predictions": said}  # fmt: skip
    found = completeness(*logits, **texts)
    same = np.mean([a == b for a, b in zip(said, wanted, strict=True)])
    assert found == {"completeness": pytest.approx(same), "completeness_on_forget": 1.0}
    assert completeness(*logits, **{name: np.array(each) for name, each in texts.items()}) == found
    drawn = {f"{run}{split}_generated_logits": each for split in ("test", "forget")
             for run, each in (("", own[:9]), ("retrain_", other[:9]))}  # fmt: skip
    assert completeness(*logits, **drawn) == by_logits((own[:9], other[:9]), (own[:9], other[:9]))
    assert completeness(*logits, **drawn, **texts) == found


def test_impossible_inputs_are_named(rows):
    own, _ = rows(10)
    for test, message in (
        ((own, own[:9]), "test_logits has shape .* and retrain_test_logits"),
        ((own[:0], own[:0]), "test_logits is empty"),
        ((np.full_like(own, np.nan), own), "test_logits holds NaN"),
        ((own, None), "retrain_test_logits is missing"),
        ((None, None), "no answers on the set 'test'"),
    ):
        with pytest.raises(ValueError, match=message):
            by_logits(test, (own, own))
    with pytest.raises(ValueError, match="retrain_forget_predictions is missing"):
        completeness(own, own, own, own, forget_predictions=["a"])
    with pytest.raises(ValueError, match="test_predictions has 1 rows and retrain_test_predictions 2"):
        completeness(own, own, own, own, test_predictions=["a"], retrain_test_predictions=["a", "b"])


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    said, wanted = (rng.choice(WORDS, 30).tolist() for _ in range(2))
    groups = ["test"] * 12 + ["retain"] * 8 + ["forget"] * 10
    result = load("completeness").compute(predictions=said, references=wanted, groups=groups)
    for name, place in (("completeness", slice(12)), ("completeness_on_forget", slice(20, 30))):
        pairs = zip(said[place], wanted[place], strict=True)
        assert result[name] == pytest.approx(np.mean([a == b for a, b in pairs]))
    result = load("completeness").compute(predictions=["a"], references=["a"], groups=["test"])
    assert result["completeness"] is result["completeness_on_forget"] is None
    assert "forget_predictions has 0 rows" in result["completeness_reason"]
