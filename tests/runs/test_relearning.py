"""What comes back of D_f when a model is trained on: known limits, and the same curve each time."""

import copy

import numpy as np
import pytest
import torch
from audited import memorised, tiny_data, tiny_model
from torch.nn.functional import cross_entropy

from mubench_hf.errors import BadInput
from mubench_hf.models.loading import weights_sha256
from mubench_hf.runs.audits.relearning import Points, Relearning, relearn
from mubench_hf.runs.audits.rows import tuning_rows
from mubench_hf.runs.audits.scoring import mean_loss, score_rows

QUICK = Relearning(steps=(1, 3), most_steps=40, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data():
    return tiny_data(np.random.default_rng(0), forget=40)


@pytest.fixture(scope="module")
def original(data):
    return memorised(tiny_model(1), [data.splits["forget"], data.splits["retain"]])


@pytest.fixture(scope="module")
def retrained(data):
    return memorised(tiny_model(1), [data.splits["retain"]])


TARGET = 0.2
"""A loss that the original is below, and that is reached in a few steps."""


@pytest.mark.slow
def test_an_original_has_nothing_to_relearn(data, original):
    curve = relearn(original, data, settings=QUICK, target=TARGET)
    assert curve.main.first_within(TARGET) == 0
    assert curve.main.steps == (0, 1, 2, 3)


@pytest.mark.slow
def test_a_model_that_never_saw_the_rows_takes_steps_and_stays_as_it_is(data, retrained):
    before, state = weights_sha256(retrained), torch.get_rng_state()
    curve = relearn(retrained, data, settings=QUICK, target=TARGET)
    assert weights_sha256(retrained) == before and not retrained.training
    assert torch.equal(torch.get_rng_state(), state)
    assert curve.main.first_within(TARGET) == curve.main.steps[-1] > 3
    assert [step for step, score in zip(curve.main.steps, curve.main.scores, strict=True) if score is not None] == [
        *(0, 1, 3)
    ]
    assert relearn(retrained, data, settings=QUICK, target=TARGET) == curve


@pytest.mark.slow
def test_a_cap_is_kept_and_steps_that_were_not_asked_for_change_nothing(data, retrained):
    some = relearn(retrained, data, settings=QUICK)
    capped = relearn(retrained, data, settings=Relearning(steps=(1, 3), most_steps=5, learning_rate=1e-2), target=0.0)
    assert capped.main.first_within(0.0) is None and capped.main.steps[-1] == 5
    assert [capped.main.after(step) for step in some.main.steps] == [some.main.after(step) for step in some.main.steps]


@pytest.mark.slow
def test_a_biased_head_is_undone_in_few_steps(data, original, retrained):
    """It says one class whatever it is shown, and so passes for a model that forgot; the rest of it has not."""
    hidden = copy.deepcopy(original)
    with torch.no_grad():
        hidden.classifier.bias[0] += 10
    settings = Relearning(steps=(5, 10), learning_rate=1e-2)
    back, never = (relearn(model, data, on="retain", settings=settings).main for model in (hidden, retrained))
    assert back.scores[0] < never.scores[0] + 0.2
    assert max(back.scores) > max(never.scores) + 0.2


@pytest.mark.slow
def test_a_tenth_of_the_rows_is_looked_at_apart(data, retrained):
    curve = relearn(retrained, data, on="tenth", settings=QUICK)
    assert [*curve.watched] == ["rest", "tenth"] and curve.main is curve.watched["rest"]
    shown = curve.watched["tenth"]
    assert shown.losses[-1] < shown.losses[0]


def test_loss_and_score_are_those_of_the_rows():
    data, model = tiny_data(np.random.default_rng()), tiny_model(int(np.random.default_rng().integers(1000)))
    rows = data.splits["forget"]
    with torch.no_grad():
        logits = 5 * model(pixel_values=rows.pixels).logits
        model.classifier.weight.mul_(5)
        model.classifier.bias.mul_(5)
    watched = tuning_rows(data, "forget", 0).watched["forget"]
    found = score_rows(model, watched, data)
    assert found.loss == pytest.approx(mean_loss(model, watched, data), rel=1e-4)
    assert found.loss == pytest.approx(cross_entropy(logits, torch.from_numpy(rows.labels)).item(), rel=1e-4)
    assert found.score == np.mean(logits.argmax(1).numpy() == rows.labels)


def test_the_tenth_and_the_rest_are_all_rows():
    rng = np.random.default_rng()
    count = int(rng.integers(2, 60))
    data = tiny_data(rng, forget=count)
    seed = int(rng.integers(0, 1000))
    found = tuning_rows(data, "tenth", seed)
    shown, rest = (np.asarray(found.watched[name].parts[0].indices) for name in ("tenth", "rest"))
    assert len(shown) == -(-count // 10)
    assert sorted([*shown, *rest]) == [*range(count)]
    assert [*tuning_rows(data, "tenth", seed).rows.indices] == [*shown]


def test_unrelated_rows_teach_no_forgotten_class():
    rng = np.random.default_rng()
    data = tiny_data(rng)
    everything = tuning_rows(data, "unrelated", 0)
    data.splits["retain"].labels[:] = rng.integers(0, 2, 40)
    data.splits["forget"].labels[0] = 2
    found = tuning_rows(data, "unrelated", 0)
    kept = data.splits["test"].labels[found.rows.indices]
    assert len(everything.rows) == 30 and 2 not in kept
    assert len(kept) == (data.splits["test"].labels != 2).sum()
    data.splits["test"].labels[:] = 2
    with pytest.raises(BadInput, match="no row is unrelated"):
        tuning_rows(data, "unrelated", 0)


def test_what_there_is_not_is_refused():
    data = tiny_data(np.random.default_rng(), forget=1)
    with pytest.raises(BadInput, match="has 1 row"):
        tuning_rows(data, "tenth", 0)
    with pytest.raises(BadInput, match="Allowed: forget, retain, unrelated, tenth"):
        tuning_rows(data, "halves", 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": ()}, "steps"),
        ({"steps": (0,)}, "steps"),
        ({"steps": (1.5,)}, "steps"),
        ({"most_steps": 0}, "most_steps"),
        ({"most_steps": 3}, "most_steps is 3"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(settings, said):
    with pytest.raises(BadInput, match=said):
        Relearning(**settings)


def test_points_know_when_a_loss_was_reached():
    points = Points((0, 1, 2, 3), (1.0, 0.5, 0.6, 0.1), (None,) * 4)
    assert [points.first_within(loss) for loss in (1.0, 0.5, 0.3, 0.05)] == [0, 1, 3, None]
    assert points.after(7) is None and points.after(2) == (0.6, None)
