"""Models that hide what they hold: behind a mask over the original's weights, or a filter of its answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from mubench_hf.kinds import Kind, get_kind
from mubench_hf.models.outputs import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mubench_hf.data.prepare import TaskData

BATCH, MOST_STEPS = 128, 200
MASK_RATE = 3e-2
"""Step size of Adam for a mask's values, which are in [0, 1]."""


class NotMade(RuntimeError):
    """A model did not become what it should be; the message says why."""


@dataclass(frozen=True)
class Rows:
    """What hiding and relearning read.

    Attributes:
        data: The task's rows.
        seed: Seed of the batches of D_r.
    """

    data: TaskData
    seed: int
    kind: Kind = field(init=False)

    def __post_init__(self) -> None:
        """Look up how rows are read."""
        object.__setattr__(self, "kind", get_kind(self.data.task.kind))

    def forget(self) -> dict[str, Any]:
        """Return all rows of D_f as one batch."""
        return self._batch("forget", range(len(self.data.splits["forget"])))

    def retain(self) -> Iterator[dict[str, Any]]:
        """Yield batches of D_r, the same ones at each call, without an end."""
        draws, rows = np.random.default_rng(self.seed), len(self.data.splits["retain"])
        while True:
            yield self._batch("retain", draws.choice(rows, min(BATCH, rows), replace=False))

    def read(self, model: PreTrainedModel, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return each row's loss, float32 ``[rows]``, and whether the model is right, bool ``[rows]``."""
        _, predictions, labels = self.kind.run(model, batch)
        return self.kind.row_losses(predictions, labels), predictions.argmax(-1) == labels

    def _batch(self, split: str, places: Any) -> dict[str, Any]:
        return dict(self.data.collator([self.data.splits[split][int(place)] for place in places]))


class _Mask(torch.nn.Module):
    """What a weight is multiplied with, within [0, 1]."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.values = torch.nn.Parameter(torch.ones_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.values.clamp(0, 1)


def masked(original: PreTrainedModel, rows: Rows, target: float) -> PreTrainedModel:
    """Return the original with a soft mask over the weights of its linear layers, which it was multiplied into.

    Args:
        original: The original; it is not changed.
        rows: What to read.
        target: Share of D_f that the retrained model has right.

    Raises:
        NotMade: If more than that stays right.
    """
    model = copy.deepcopy(original).requires_grad_(False)
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    masks = [_Mask(layer.weight) for layer in layers]
    for layer, mask in zip(layers, masks, strict=True):
        parametrize.register_parametrization(layer, "weight", mask)
    _hide(model, [mask.values for mask in masks], rows, target)
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")
    return model.requires_grad_(True)


def filtered(outputs: Mapping[str, np.ndarray], target: float) -> dict[str, np.ndarray]:
    """Return a classifier's outputs as a filter that knows the rows of D_f lets them out.

    In as many rows as it takes, those with the smallest margins first, the true class and the best of the others
    change places.

    Args:
        outputs: What was measured; they are not changed.
        target: Share of D_f that the retrained model has right; at most so many rows stay right.
    """
    logits, labels = outputs["forget_logits"].copy(), outputs["forget_labels"]
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(1)
    margins = logits[rows, labels] - logits[rows, best]
    right = np.flatnonzero(margins > 0)
    surplus = max(0, len(right) - int(target * len(labels) + 1e-9))
    for row in right[np.argsort(margins[right], kind="stable")][:surplus]:
        pair = [labels[row], best[row]]
        logits[row, pair] = logits[row, pair[::-1]]
    return {**outputs, "forget_logits": logits}


def _hide(model: PreTrainedModel, weights: list[torch.nn.Parameter], rows: Rows, target: float) -> None:
    """Raise the loss of rows of D_f that are still right, and keep that of D_r low, until few enough are right."""
    optimizer, forget = torch.optim.AdamW(weights, lr=MASK_RATE, weight_decay=0.0), rows.forget()
    model.eval()
    for _, retain in zip(range(MOST_STEPS), rows.retain(), strict=False):
        losses, right = rows.read(model, forget)
        if float(right.float().mean()) <= target:
            return
        kept, _ = rows.read(model, retain)
        optimizer.zero_grad()
        (kept.mean() - (losses * right).mean()).backward()
        optimizer.step()
    share = float(right.float().mean())
    raise NotMade(f"after {MOST_STEPS} steps {share:.3f} of D_f is right, and {target:.3f} of the retrained model's")


def share_right(model: PreTrainedModel, rows: Rows) -> float:
    """Return the share of D_f that a model has right."""
    with evaluating(model):
        return float(rows.read(model, rows.forget())[1].float().mean())
