"""SalUn: random labels, moving only the weights that D_f's gradient points at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from transformers import TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._settings import setting
from mubench_hf.trainers.rand_label import RandLabelConfig, RandLabelTrainer


@dataclass
class SalUnConfig(RandLabelConfig):
    """Settings of ``salun``, beside those of ``rand_label``.

    Args:
        density: Share of the trainable weights that may move.
    """

    density: float = setting(0.5, above=0, most=1)


def saliency_masks(gradients: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """Return bool masks of the ``round(density * weights)`` largest ``|gradient|`` over all tensors together.

    One selection finds the threshold. Weights that tie with it are taken in tensor order until the count is exact: if
    most gradients are zero, a threshold alone would take everything.

    Args:
        gradients: Name → gradient, any shape; summed over all rows before the absolute value is taken.
        density: Share of weights to take, in (0, 1].

    Raises:
        BadInput: If ``density`` is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise BadInput(f"density is {density}; it is the share of weights that may move, so above 0 and at most 1.")
    size = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    keep = round(density * len(size))
    mask = torch.zeros_like(size, dtype=torch.bool)
    if keep:
        threshold = size.kthvalue(len(size) - keep + 1).values
        mask = size > threshold
        ties = (size == threshold).nonzero().flatten()
        mask[ties[: keep - int(mask.sum())]] = True
    parts = mask.split([gradient.numel() for gradient in gradients.values()])
    return {name: part.view_as(gradients[name]) for name, part in zip(gradients, parts, strict=True)}


class PutBack(TrainerCallback):
    """Puts masked weights back after each step, whichever optimizer made it."""

    def __init__(self, trainer: SalUnTrainer):
        self.trainer = trainer

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Called by ``Trainer`` right after the optimizer's step."""
        self.trainer.put_back()


class SalUnTrainer(RandLabelTrainer):
    """RandLabel under a saliency mask; masked weights stay bit-equal to the original's.

    Masked gradients are zeroed as they are produced, so that clipping sees only the free weights; masked weights, which
    weight decay would still move, are put back after each step.
    """

    key = "salun"
    aliases = ("saliency_unlearning",)
    config_class = SalUnConfig
    title = "SalUn"
    measurement, corruption, retention = "loss", "random label", "labels and saliency mask"
    source = "arXiv 2310.12508"

    @classmethod
    def kept_beside(cls, weights: int, args: UnlearningConfig) -> dict[str, int]:
        """Return the bytes of the mask and of the weights' values before the first step."""
        return {"mask": weights, "masked weights": 4 * weights}

    def prepare(self) -> None:
        """Compute the mask at the original's weights and keep the masked weights fixed."""
        self.masks = saliency_masks(self.fitting(self.forget_gradients), self.args.density)
        for hook in getattr(self, "_hooks", ()):
            hook.remove()
        parameters = dict(self.model.named_parameters())
        self._hooks = [
            parameters[name].register_hook(lambda gradient, mask=mask: gradient * mask)
            for name, mask in self.masks.items()
        ]
        self.remove_callback(PutBack)
        self.add_callback(PutBack(self))
        self._tied = [(parameters[name], mask, parameters[name].detach().clone()) for name, mask in self.masks.items()]

    def forget_gradients(self, batch_size: int | None = None) -> dict[str, Tensor]:
        """Return the sum over all of D_f of the gradient of the task's loss, in eval mode, by parameter name."""
        model, was_training = self.model, self.model.training
        rows = Subset(self.rows, self.rows.is_forget.nonzero()[0].tolist())
        model.eval()
        model.zero_grad()
        for inputs in DataLoader(rows, batch_size=batch_size or self._train_batch_size, collate_fn=self.collator):
            batch, _ = self.forward(model, self._prepare_inputs(inputs), None)
            batch.losses().sum().backward()
        gradients = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }
        model.zero_grad()
        model.train(was_training)
        return gradients

    @torch.no_grad()
    def put_back(self) -> None:
        """Give masked weights the values that they had before the first step."""
        for weight, mask, original in self._tied:
            torch.where(mask, weight, original, out=weight)
