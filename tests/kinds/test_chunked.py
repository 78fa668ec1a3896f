"""Losses of positions over a large vocabulary: in chunks as in one piece, of scored positions alone, with gradients."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from mubench_hf.errors import BadInput
from mubench_hf.kinds import _chunked, _losses
from mubench_hf.kinds._losses import row_cross_entropy, row_js, row_kl

ROWS, CLASSES = 5, 11


@pytest.fixture(params=["a position a chunk", "a few", "all"])
def chunked(request, monkeypatch, rng):
    """Compute everything in chunks of some size, which need not divide the number of scored positions."""
    positions = {"a position a chunk": 0, "a few": int(rng.integers(2, 6)), "all": 10_000}[request.param]
    monkeypatch.setattr(_losses, "WHOLE_BYTES", 0)
    monkeypatch.setattr(_chunked, "CHUNK_BYTES", positions * 4 * CLASSES)


@pytest.fixture
def texts(rng):
    """Draw two models' logits, the second with a gradient, and labels: the first row has none, the last row all."""
    positions = int(rng.integers(2, 9))
    labels = np.where(rng.random((ROWS, positions)) < 0.5, rng.integers(CLASSES, size=(ROWS, positions)), -100)
    labels[0], labels[-1] = -100, rng.integers(CLASSES, size=positions)
    one, other = (torch.from_numpy(rng.normal(size=(ROWS, positions, CLASSES)).astype("f4") * 3) for _ in range(2))
    return one.requires_grad_(), other.requires_grad_(), torch.from_numpy(labels)


LOSSES = {
    "cross-entropy": lambda one, other, labels: row_cross_entropy(other, labels),
    "summed cross-entropy": lambda one, other, labels: row_cross_entropy(other, labels, "sum"),
    "KL at 1": lambda one, other, labels: row_kl(one, other, 1.0, labels),
    "KL at 4": lambda one, other, labels: row_kl(one, other, 4.0, labels),
    "KL at 0.5": lambda one, other, labels: row_kl(one, other, 0.5, labels),
    "JS": lambda one, other, labels: row_js(one, other, labels),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_values_and_gradients_are_those_in_one_piece_in_double_precision(loss, texts, chunked, rng, monkeypatch):
    one, other, labels = texts
    weights = torch.from_numpy(rng.random(ROWS))
    found = loss(one, other, labels)
    (found * weights).sum().backward()
    exact = [logits.detach().double().requires_grad_() for logits in (one, other)]
    monkeypatch.setattr(_losses, "WHOLE_BYTES", 1 << 40)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    expected = loss(*exact, labels)
    (expected * weights).sum().backward()
    assert found.dtype == torch.float32 and expected.dtype == torch.float64
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=2e-6)
    assert found[0] == 0
    for logits, double in zip((one, other), exact, strict=True):
        if double.grad is not None:
            torch.testing.assert_close(logits.grad.double(), double.grad, atol=1e-6, rtol=1e-6)
            assert not logits.grad[labels == -100].any()


def test_values_are_scipys(texts, chunked):
    one, other, labels = (tensor.detach() for tensor in texts)
    p, q = (softmax(logits.double().numpy(), axis=-1) for logits in (one, other))
    log_q = log_softmax(other.double().numpy(), axis=-1)
    for row in range(1, ROWS):
        places = np.flatnonzero(labels[row] != -100)
        if len(places):
            pairs = [(p[row, place], q[row, place]) for place in places]
            truth = -np.mean([log_q[row, place, labels[row, place]] for place in places])
            assert row_cross_entropy(other, labels)[row].item() == pytest.approx(truth, rel=1e-5)
            expected = np.mean([entropy(*pair) for pair in pairs])
            assert row_kl(one, other, 1.0, labels)[row].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
            expected = np.mean([jensenshannon(*pair, base=2) ** 2 for pair in pairs])
            assert row_js(one, other, labels)[row].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_nothing_scored_is_no_loss_and_no_slope(texts, chunked):
    one, other, labels = texts
    nothing = torch.full_like(labels, -100)
    for loss in LOSSES.values():
        found = loss(one, other, nothing)
        assert found.tolist() == [0] * ROWS
        found.sum().backward()
    assert not one.grad.any() and not other.grad.any()


def test_positions_that_are_not_scored_are_not_read(texts, chunked):
    """Padding may hold anything, even what is no number."""
    one, other, labels = texts
    for loss in LOSSES.values():
        held = [logits.detach().clone() for logits in (one, other)]
        for logits in held:
            logits[labels == -100] = float("nan")
            logits.requires_grad_()
        found = loss(*held, labels)
        assert found.equal(loss(one, other, labels))
        found.sum().backward()
        assert all(logits.grad.isfinite().all() for logits in held if logits.grad is not None)


def test_logits_of_any_size(chunked, texts):
    *_, labels = texts
    far = torch.where(torch.arange(CLASSES) == 0, 1e4, -1e4).expand(*labels.shape, CLASSES).clone().requires_grad_()
    other = far.detach().flip(-1).requires_grad_()
    scored = (labels != -100).any(1)
    assert row_js(far, other, labels).tolist() == scored.float().tolist()
    assert row_kl(far, other, 1.0, labels).tolist() == (2e4 * scored).tolist()
    assert row_kl(far, far, 1.0, labels).tolist() == [0] * ROWS
    for loss in LOSSES.values():
        loss(far, other, labels).sum().backward()
    assert far.grad.isfinite().all() and other.grad.isfinite().all()


def test_shifted_logits_in_16_bits(chunked, texts):
    """A causal model's logits are a part of what its head returns, and keep their type."""
    one, other, labels = texts
    head = other.detach().bfloat16().requires_grad_()
    shifted, labels = head[:, :-1], labels[:, 1:]
    row_kl(one.detach()[:, :-1], shifted, 1.0, labels).sum().backward()
    exact = head.detach().float().requires_grad_()
    p, q = (logits[:, :-1].log_softmax(-1) for logits in (one.detach(), exact))
    scored = labels != -100
    values = torch.where(scored, (p.exp() * (p - q)).sum(-1), 0.0).sum(1) / scored.sum(1).clamp(min=1)
    values.sum().backward()
    assert head.grad.dtype == torch.bfloat16
    torch.testing.assert_close(head.grad.float(), exact.grad, atol=1e-3, rtol=1e-2)


def test_a_gradient_is_taken_once(texts, chunked):
    one, other, labels = texts
    found = row_kl(one.detach(), other, 1.0, labels).sum()
    found.backward(retain_graph=True)
    with pytest.raises(BadInput, match="was taken already"):
        found.backward()
    with pytest.raises(BadInput, match="no gradient of its own"):
        torch.autograd.grad(row_cross_entropy(other, labels).sum(), other, create_graph=True)


def test_the_size_alone_decides(texts, monkeypatch):
    """Logits of the largest size are computed in one piece, one value more in chunks; each row's value stays near."""
    one, other, labels = (tensor.detach() for tensor in texts)
    calls = []
    monkeypatch.setattr(_losses, "of_scored", lambda *given: calls.append(given) or _chunked.of_scored(*given))
    monkeypatch.setattr(_losses, "WHOLE_BYTES", 4 * other.numel())
    whole = [loss(one, other, labels) for loss in LOSSES.values()]
    assert not calls
    monkeypatch.setattr(_losses, "WHOLE_BYTES", 4 * other.numel() - 1)
    for value, loss in zip(whole, LOSSES.values(), strict=True):
        torch.testing.assert_close(loss(one, other, labels), value, atol=1e-6, rtol=1e-6)
    assert len(calls) == len(LOSSES)
    row_kl(one[:, 0], other[:, 0])  # Rows without positions, however many classes they have.
    assert len(calls) == len(LOSSES)
