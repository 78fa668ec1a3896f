"""Each loss of a row against its formula in float64 NumPy or SciPy, and what holds for any logits."""

import numpy as np
import pytest
import torch
from formulas import cross_entropy, kl
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from mubench_hf.kinds._losses import row_cross_entropy, row_js, row_kl

ROWS, CLASSES = 40, 7


@pytest.fixture
def logits(rng):
    """Draw float32 logits ``[ROWS, CLASSES]``, multiples of 2^-10, so that adding an integer to them is exact."""
    return lambda scale=1: torch.from_numpy((scale * rng.integers(-4096, 4097, (ROWS, CLASSES)) / 1024).astype("f4"))


@pytest.fixture
def labels(rng):
    return torch.from_numpy(rng.integers(CLASSES, size=ROWS))


def close(found, expected):
    assert found.dtype == torch.float32 and found.shape == (ROWS,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)


def test_row_cross_entropy(logits, labels):
    z = logits()
    close(row_cross_entropy(z, labels), cross_entropy(z, labels))
    close(row_cross_entropy(z.double(), labels), cross_entropy(z, labels))
    assert (row_cross_entropy(1e4 * z, labels) >= 0).all() and row_cross_entropy(1e4 * z, labels).isfinite().all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_row_kl_is_scipys_times_the_squared_temperature(logits, temperature):
    teacher, student = logits(), logits()
    close(row_kl(teacher, student, temperature), kl(teacher, student, temperature))


def test_row_kl_goes_from_teacher_to_student(logits):
    teacher, student = logits(), logits()
    assert abs(kl(teacher, student) - kl(student, teacher)).max() > 0.01
    close(row_kl(teacher, student), kl(teacher, student))


@pytest.mark.parametrize("scale", [1e-3, 1, 10, 2500])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_row_kl_is_a_divergence_for_logits_of_any_size(logits, scale, temperature):
    teacher, student = logits(scale), logits(scale).requires_grad_()
    assert (row_kl(teacher, teacher, temperature) == 0).all()
    found = row_kl(teacher, student, temperature)
    assert found.isfinite().all() and (found > -1e-5).all()
    found.sum().backward()
    assert student.grad.isfinite().all() and student.grad.any()


def test_row_kl_where_teacher_and_student_are_sure_of_different_classes():
    teacher = torch.tensor([[1e4, -1e4, -1e4], [-1e4, 1e4, 0.0]])
    student = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    found = row_kl(teacher, student)
    assert found.tolist() == [2e4, 0.0]
    found.sum().backward()
    assert student.grad.tolist() == [[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_row_kl_does_not_change_with_a_constant_a_row(logits, rng):
    teacher, student = logits(), logits()
    shift, other = (torch.from_numpy(rng.integers(-50, 51, (ROWS, 1)).astype("f4")) for _ in range(2))
    torch.testing.assert_close(row_kl(teacher + shift, student + other), row_kl(teacher, student), atol=2e-5, rtol=1e-4)


def test_gradient_of_row_kl(logits):
    """d/ds of T² KL is T (softmax(s/T) − softmax(t/T))."""
    teacher, student = logits(), logits().requires_grad_()
    row_kl(teacher, student, 4.0).sum().backward()
    expected = 4 * (softmax(student.detach().double().numpy() / 4, 1) - softmax(teacher.double().numpy() / 4, 1))
    np.testing.assert_allclose(student.grad.numpy(), expected, atol=2e-5)


def positions(rng, scale=1.0):
    """Draw logits ``[ROWS, 6, CLASSES]`` and labels of 1 to 6 scored positions a row, anywhere among the six."""
    scored = rng.random((ROWS, 6)) < 0.5
    scored[np.arange(ROWS), rng.integers(6, size=ROWS)] = True
    labels = np.where(scored, rng.integers(CLASSES, size=(ROWS, 6)), -100)
    return (
        [torch.from_numpy((scale * rng.normal(size=(ROWS, 6, CLASSES))).astype("f4")) for _ in range(2)],
        torch.from_numpy(labels),
    )


def over_positions(value, labels):
    """Mean of ``value(row, position)`` over each row's scored positions, written out."""
    return np.array(
        [np.mean([value(row, t) for t in range(6) if labels[row, t] != -100]) for row in range(len(labels))]
    )


def test_a_rows_cross_entropy_is_the_mean_over_its_label_positions(rng):
    (z, _), labels = positions(rng)
    log_p = log_softmax(z.double().numpy(), axis=-1)
    close(row_cross_entropy(z, labels), over_positions(lambda row, t: -log_p[row, t, labels[row, t]], labels.numpy()))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_rows_kl_is_the_mean_over_its_label_positions(rng, temperature):
    (teacher, student), labels = positions(rng)
    p, q = (softmax(z.double().numpy() / temperature, axis=-1) for z in (teacher, student))
    expected = over_positions(lambda row, t: temperature**2 * entropy(p[row, t], q[row, t]), labels.numpy())
    close(row_kl(teacher, student, temperature, labels), expected)


def test_a_rows_js_is_scipys_over_its_label_positions(rng):
    (one, other), labels = positions(rng, scale=2.0)
    p, q = (softmax(z.double().numpy(), axis=-1) for z in (one, other))
    expected = over_positions(lambda row, t: jensenshannon(p[row, t], q[row, t], base=2) ** 2, labels.numpy())
    close(row_js(one, other, labels), expected)
    assert (row_js(one, one, labels) < 1e-6).all()
    far = torch.where(torch.arange(CLASSES) == 0, 100.0, -100.0).expand(ROWS, 6, CLASSES)
    assert row_js(far, far.flip(-1), labels).tolist() == [1.0] * ROWS


def test_positions_without_a_label_neither_count_nor_pull(rng):
    """Whatever a model says there: padding and prompts are no part of the loss."""
    (teacher, student), labels = positions(rng)
    other = student.clone()
    other[labels == -100] = 1e4 * torch.randn((labels == -100).sum(), CLASSES)
    assert row_cross_entropy(other, labels).equal(row_cross_entropy(student, labels))
    assert row_kl(teacher, other, 1.0, labels).equal(row_kl(teacher, student, 1.0, labels))
    student.requires_grad_()
    (row_cross_entropy(student, labels) + row_kl(teacher, student, 1.0, labels)).sum().backward()
    assert not student.grad[labels == -100].any() and student.grad[labels != -100].any(-1).all()


def test_a_row_without_a_label_position_has_no_loss(rng):
    (teacher, student), labels = positions(rng)
    labels[3] = -100
    assert row_cross_entropy(student, labels)[3] == 0 and row_kl(teacher, student, 1.0, labels)[3] == 0
