import numpy as np
import pytest

from mubench_hf.metrics.prompt_accuracy import prompt_accuracy, row_scores


def test_agrees_with_a_loop_over_images(rows):
    logits, labels = rows(120)
    right = [z.index(max(z)) == y for z, y in zip(logits.tolist(), labels, strict=True)]
    assert row_scores(logits, labels)["prompt_accuracy"].tolist() == right
    assert prompt_accuracy(logits, labels) == {"prompt_accuracy": pytest.approx(np.mean(right))}


def test_prompts_that_images_do_not_follow_give_chance(rows):
    logits, labels = rows(20_000)
    assert abs(prompt_accuracy(logits, labels)["prompt_accuracy"] - 1 / 5) < 0.02  # seven standard deviations


def test_impossible_inputs_are_named(rows, spoil):
    change, message = spoil
    with pytest.raises(ValueError, match=message):
        prompt_accuracy(*change(*rows(20)))


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, load):
    logits, labels = rows(30)
    metric = load("prompt_accuracy")
    assert metric.compute(predictions=logits, references=labels) == prompt_accuracy(logits, labels)
    assert metric.compute(predictions=[], references=[])["prompt_accuracy"] is None
