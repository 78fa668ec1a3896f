"""What attacks on texts read beside losses: what each token could have been, and how large a row's gradient is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds._chunked import PerPosition, cross_entropy, log_prob_mean, log_prob_std, of_scored
from mubench_hf.kinds._losses import IGNORED
from mubench_hf.models.outputs import evaluating, over_batches
from mubench_hf.models.sharded import is_sharded

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData
    from mubench_hf.kinds import Kind

LOG_PROBS, MEANS, STDS = "token_log_probs", "token_log_prob_means", "token_log_prob_stds"
GRADIENT_NORMS = "gradient_norms"
ATTACKED = frozenset(
    f"{split}_{name}" for split in ("forget", "test") for name in (LOG_PROBS, MEANS, STDS, GRADIENT_NORMS)
)
"""Arrays that attacks read, of the splits that they tell apart."""

BATCH = 32
"""Rows measured at once. Rows whose gradient is measured are alone, as it is that of a whole batch otherwise."""


def attacked(kind: Kind, model: Any, rows: JoinedRows, data: TaskData, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return what attacks read of some rows of text.

    Args:
        kind: How the rows are read.
        model: The checkpoint; it is not changed.
        rows: Prepared rows.
        data: What they were prepared with.
        names: Which of the arrays are wanted, without a split.

    Returns:
        ``token_log_probs``, ``token_log_prob_means`` and ``_stds``: float32 ``[rows, positions]``, in nats, the
        log-probability of the true token, and mean and standard deviation of that of a token which the model draws
        there; NaN where a position is not scored. ``gradient_norms``: float64 ``[rows]``, Euclidean norm of the
        gradient of a row's loss by all weights of the model.

    Raises:
        BadInput: If gradients are wanted of a model whose weights are dealt out to several processes.
    """
    collate = FlaggedCollator(data.collator).without_flags
    found, tokens = {}, [name for name in (LOG_PROBS, MEANS, STDS) if name in names]
    if tokens:

        def said(batch: Mapping[str, Any], places: range) -> list[np.ndarray]:
            _, logits, labels = kind.run(model, send_to_device(dict(batch), model.device))
            return [_of_tokens(name, logits, labels).cpu().numpy() for name in tokens]

        with evaluating(model):
            batches = over_batches(rows, collate, said, BATCH)
        found = {name: _padded(made) for name, made in zip(tokens, zip(*batches, strict=True), strict=True)}
    if GRADIENT_NORMS in names:
        if is_sharded(model):
            raise BadInput(
                "Gradient norms cannot be measured of a model whose weights are dealt out to several processes. "
                "Evaluate it in one process, or leave out the metric gradnorm."
            )

        def norm(batch: Mapping[str, Any], places: range) -> float:
            inputs = send_to_device(dict(batch), model.device)
            with _differentiable(model) as weights:
                _, predictions, labels = kind.run(model, inputs)
                loss = kind.row_losses(predictions, labels).sum()
                gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            squares = [one.double().square().sum() for one in gradients if one is not None]
            return float(torch.stack(squares).sum().sqrt())

        found[GRADIENT_NORMS] = np.asarray(over_batches(rows, collate, norm, 1), dtype=np.float64)
    return found


def _of_tokens(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """Return a value of each scored position, float32 ``[rows, positions]``, and NaN elsewhere.

    It is computed in chunks: nothing of the logits' size is made beside them.
    """
    functions: dict[str, PerPosition] = {LOG_PROBS: cross_entropy, MEANS: log_prob_mean, STDS: log_prob_std}
    scored = labels != IGNORED
    of = (logits, labels) if name == LOG_PROBS else (logits,)
    values = of_scored(functions[name], scored, *of)
    return torch.where(scored, -values if name == LOG_PROBS else values, torch.nan)


@contextmanager
def _differentiable(model: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Give all weights of a model in eval mode a gradient, also those that are never trained, while inside."""
    was_training, flags = model.training, [(weight, weight.requires_grad) for weight in model.parameters()]
    weights = [weight for weight, _ in flags if weight.is_floating_point()]
    model.eval()
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            yield weights
    finally:
        for weight, flag in flags:
            weight.requires_grad_(flag)
        model.train(was_training)


def _padded(batches: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return batches whose rows differ in length as one array ``[rows, positions]``, NaN past a row's end."""
    longest = max(batch.shape[1] for batch in batches)
    fill = [((0, 0), (0, longest - batch.shape[1])) for batch in batches]
    return np.concatenate(
        [np.pad(batch, width, constant_values=np.nan) for batch, width in zip(batches, fill, strict=True)]
    )
