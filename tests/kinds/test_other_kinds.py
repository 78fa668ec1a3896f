"""Kinds of models that no task has: each is read as its own loss reads it, and every method trains it or refuses it."""

import copy

import numpy as np
import pytest
import torch
from kind_models import MAKERS, seeded
from methods import methods_for
from scipy.special import expit, log_softmax
from transformers import default_data_collator

from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind, kind_of
from mubench_hf.trainers import get_method

CASES = [pytest.param(kind, make, id=make.__name__) for kind, makers in MAKERS.items() for make in makers]


def cross_entropy(logits, labels):
    """Return the mean over the scored positions of each row."""
    nats = -np.take_along_axis(log_softmax(logits, axis=-1), np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    return np.array([row[label != -100].mean() for row, label in zip(nats, labels, strict=True)])


def expected_losses(kind, logits, labels):
    if kind == "multi_label":
        p = expit(logits)
        return -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(1)
    if kind == "regression":
        return ((logits - labels.reshape(logits.shape)) ** 2).mean(1)
    if kind == "image_text_to_text":
        return cross_entropy(logits[:, :-1], labels[:, 1:])
    return cross_entropy(logits, labels)


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_a_row_is_read_as_the_model_itself_reads_it(kind, make, rng):
    model, rows = seeded(make, rng, 7)
    found, batch = kind_of(model.eval(), rows[0]["labels"]), default_data_collator(rows)
    assert found is get_kind(kind)
    with torch.no_grad():
        _, predictions, labels = found.run(model, batch)
        own = model(**batch)
    losses = found.row_losses(predictions, labels)
    expected = expected_losses(kind, own.logits.double().numpy(), batch["labels"].numpy())
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    assert found.mean_loss(predictions, labels).item() == pytest.approx(own.loss.item(), rel=1e-4)
    for row, loss in zip(rows, losses, strict=True):
        with torch.no_grad():
            assert model(**default_data_collator([row])).loss.item() == pytest.approx(loss.item(), rel=1e-3, abs=1e-4)
    sums = found.row_losses(predictions, labels, "sum")
    assert (sums >= losses - 1e-6).all()
    if kind == "regression":
        with pytest.raises(BadInput, match="no log-likelihood"):
            found.row_log_likelihoods(predictions, labels)
    else:
        torch.testing.assert_close(found.row_log_likelihoods(predictions, labels), -sums)


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_distances_from_a_teacher(kind, make, rng):
    """Zero from itself; of several labels a row the mean of their divergences, computed here from probabilities."""
    model, rows = seeded(make, rng, 5)
    kind = get_kind(kind)
    with torch.no_grad():
        _, logits, labels = kind.run(model.eval(), default_data_collator(rows))
    other = logits + torch.from_numpy(rng.normal(size=logits.shape).astype("f4"))
    temperature = float(rng.uniform(1, 4))
    assert kind.row_divergences(logits, logits, labels, temperature).abs().max() < 1e-5
    found = kind.row_divergences(logits, other, labels, temperature)
    assert found.shape == (5,) and (found > 0).all()
    if kind.key == "multi_label":
        p, q = (expit(each.double().numpy() / temperature) for each in (logits, other))
        expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean(1) * temperature**2
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    if kind.key == "regression":
        np.testing.assert_allclose(found, (logits - other).double().square().mean(1), rtol=1e-4)


@pytest.mark.parametrize(("kind", "make"), CASES)
@pytest.mark.parametrize("style", ["lists", "tensors"])
def test_a_random_target_is_never_the_rows_own(kind, make, style, rng):
    model, plain = seeded(make, rng, 20)
    if style == "tensors":
        plain = [{name: torch.as_tensor(np.asarray(value)) for name, value in row.items()} for row in plain]
    kind, rows, before = get_kind(kind), JoinedRows(plain[:8], plain[8:]), copy.deepcopy(plain)
    drawn = kind.draw_targets(rows.is_forget, model.config.num_labels, rng)
    for place in range(8):
        made = kind.retarget(rows[place], int(drawn[place]), rows, model.config.num_labels)
        own, other = (np.asarray(row["labels"]) for row in (plain[place], made))
        assert isinstance(made["labels"], torch.Tensor) is (style == "tensors")
        assert type(made["labels"]) is type(plain[place]["labels"]) and own.dtype == other.dtype
        assert own.shape == other.shape and not np.array_equal(own, other)
        if kind.key == "token_classification":
            assert ((own == -100) == (other == -100)).all() and (own != other)[own != -100].all()
            assert other.max() < 4
        else:
            donors = {str(np.asarray(row["labels"])[np.asarray(row["labels"]) != -100].tolist()) for row in plain[8:]}
            assert str(other[other != -100].tolist()) in donors
        for name in plain[place].keys() - {"labels", "input_ids"}:
            assert np.array_equal(made[name], plain[place][name])
    for row, was in zip(plain, before, strict=True):
        assert all(np.array_equal(row[name], was[name]) for name in row), "the caller's rows are as they were"


def some_steps(method, model, rows, folder, **settings):
    trainer = get_method(method)
    args = trainer.config_class(
        str(folder), max_steps=3, use_cpu=True, cpu_threads=1, disable_tqdm=True, save_strategy="no",
        learning_rate=1e-3, logging_strategy="no", report_to="none", per_device_train_batch_size=4, **settings,
    )  # fmt: skip
    made = trainer(model, args, forget_dataset=rows[:6], retain_dataset=rows[6:], eval_dataset=rows[:4])
    output = made.train()
    return made, output


METHODS = sorted({each for kind in MAKERS for each in methods_for(kind)})
PAIRS = [
    # A third of the pairs by default, with every kind and every method.
    pytest.param(kind, makers[0], method, id=f"{kind}-{method}", marks=[pytest.mark.slow] if (at + of) % 3 else [])
    for at, (kind, makers) in enumerate(MAKERS.items())
    for of, method in enumerate(METHODS)
    if method in methods_for(kind)
]


@pytest.mark.parametrize(("kind", "make", "method"), PAIRS)
def test_every_method_takes_some_steps(method, kind, make, rng, tmp_path):
    """Three: in the first two, SCRUB only leaves the teacher, from which it does not differ at first."""
    model, rows = seeded(make, rng, 16)
    before = copy.deepcopy(model.state_dict())
    trainer, output = some_steps(method, model, rows, tmp_path)
    assert trainer.kind is get_kind(kind) and trainer.status == "ok" and output.global_step == 3
    assert np.isfinite(output.training_loss)
    assert any((weight != before[name]).any() for name, weight in model.state_dict().items())
    assert np.isfinite(trainer.evaluate()["eval_loss"])
