import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.mia_loss_auc import mia_loss_auc
from mubench_hf.metrics.reference_loss import reference_loss


def losses(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def test_agrees_with_the_definition_and_scikit_learn(rows):
    forget, test, theirs = rows(60), rows(120), (rows(60)[0], rows(120)[0])
    scores = np.concatenate(
        [losses(other, rows[1]) - losses(*rows) for rows, other in zip((forget, test), theirs, strict=True)]
    )
    found = reference_loss(*forget, *test, theirs[0], forget[1], theirs[1], test[1])
    member = [1] * 60 + [0] * 120
    assert found["reference_loss"] == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    assert found["reference_loss_tpr_at_1fpr"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_the_retrained_model_is_chance_even_with_noise_in_the_last_bits(rows, rng):
    forget, test = rows(60), rows(90)
    other = reference_loss(*forget, *test, *forget, *test)
    assert other == {"reference_loss": 0.5, "reference_loss_tpr_at_1fpr": 0.0}
    noisy = [logits + rng.uniform(-1e-14, 1e-14, size=logits.shape) for logits in (forget[0], test[0])]
    assert reference_loss(*forget, *test, noisy[0], forget[1], noisy[1], test[1]) == other


def test_limits_and_what_difficulty_does(rng):
    """A row's difficulty falls out, which decides the plain loss."""
    labels = np.zeros(150, dtype=int)

    def margins(values):
        return np.stack([values, np.zeros(150)], axis=1)

    hard, easy = rng.normal(-3, 1, size=150), rng.normal(3, 1, size=150)
    remembered = reference_loss(margins(hard + 1), labels, margins(easy), labels,
                                margins(hard), labels, margins(easy), labels)  # fmt: skip
    assert remembered == {"reference_loss": 1.0, "reference_loss_tpr_at_1fpr": 1.0}
    assert mia_loss_auc(margins(hard + 1), labels, margins(easy), labels)["mia_loss_auc"] < 0.1
    pushed = reference_loss(margins(hard - 1), labels, margins(easy), labels,
                            margins(hard), labels, margins(easy), labels)  # fmt: skip
    assert pushed == {"reference_loss": 0.0, "reference_loss_tpr_at_1fpr": 0.0}
    noise = rng.normal(size=(4, 150))
    forget, test = (margins(noise[0]), labels), (margins(noise[1]), labels)
    theirs = (margins(noise[2]), labels), (margins(noise[3]), labels)
    value = reference_loss(*forget, *test, *theirs[0], *theirs[1])["reference_loss"]
    assert abs(value - 0.5) < 0.21, "six standard deviations"
    assert reference_loss(*test, *forget, *theirs[1], *theirs[0])["reference_loss"] == pytest.approx(1 - value)


@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "test": rows(20)}
    theirs = [part for name in ("forget", "test") for part in groups[name]]
    broken = change(*groups[group])
    groups[group] = broken
    if message.startswith("labels"):  # Then they are not the retrained model's.
        message = f"labels differ from {group}_labels; the same rows in one order are needed"
        group = f"retrain_{group}"
    elif len(broken[1]) != 20 or message.startswith("logits has shape"):
        theirs = [part for name in ("forget", "test") for part in groups[name]]
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        reference_loss(*groups["forget"], *groups["test"], *theirs)


def test_a_reference_with_other_rows_is_refused(rows):
    forget, test, theirs = rows(20), rows(20), rows(20)
    with pytest.raises(ValueError, match="retrain_forget_labels differ from forget_labels"):
        reference_loss(*forget, *test, forget[0], (forget[1] + 1) % 5, *test)
    with pytest.raises(ValueError, match="test_labels has shape"):
        reference_loss(*forget, *test, *forget, theirs[0][:9], test[1])


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    (logits, labels), (theirs, _) = rows(90), rows(90)
    groups = rng.permutation(["forget", "retain", "test"] * 30)
    metric = load("reference_loss")
    parts = [part[groups == one] for made in (logits, theirs) for one in ("forget", "test") for part in (made, labels)]
    inputs = {"predictions": logits, "retrained": theirs, "references": labels}
    assert metric.compute(**inputs, groups=groups) == reference_loss(*parts)
    result = metric.compute(**inputs, groups=["retain", "test"] * 45)
    assert result["reference_loss"] is None and result["reference_loss_tpr_at_1fpr"] is None
    assert result["reference_loss_reason"].startswith("forget_logits is empty")
