"""SalUn: random labels, moving only the weights that D_f's gradient points at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from transformers import TrainerCallback

from mubench_hf.models.sharded import local, sharing
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._saliency import saliency_masks
from mubench_hf.trainers._settings import setting
from mubench_hf.trainers.rand_label import RandLabelConfig, RandLabelTrainer


@dataclass
class SalUnConfig(RandLabelConfig):
    """Settings of ``salun``, beside those of ``rand_label``.

    Args:
        density: Share of the trainable weights that may move.
    """

    density: float = setting(0.5, above=0, most=1, tune=(0.1, 0.9))


class PutBack(TrainerCallback):
    """Puts masked weights back after each step, whichever optimizer made it."""

    def __init__(self, trainer: SalUnTrainer):
        self.trainer = trainer

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Called by ``Trainer`` right after the optimizer's step."""
        self.trainer.put_back()


class SalUnTrainer(RandLabelTrainer):
    """RandLabel under a saliency mask; masked weights stay bit-equal to the original's.

    Masked gradients are zeroed before an update is clipped, so that clipping sees only the free weights. Masked weights
    are put back after each step if weight decay or an optimizer of one's own might move them.

    Attributes:
        masks: Name of a trained weight → bool, true where it may move; of sharded weights, this process's part.
    """

    key = "salun"
    aliases = ("saliency_unlearning",)
    config_class = SalUnConfig
    title = "SalUn"
    measurement, corruption, retention = "loss", "random label", "labels and saliency mask"
    source = "arXiv 2310.12508"

    @classmethod
    def kept_beside(cls, weights: int, args: UnlearningConfig) -> dict[str, int]:
        """Return the bytes of the mask and, where a step may move masked weights, of their values before the first."""
        still = args.optim in LEAVING_ALONE and args.weight_decay == 0 and args.adam_epsilon > 0
        return {"mask": weights} if still else {"mask": weights, "masked weights": 4 * weights}

    def prepare(self) -> None:
        """Compute the mask at the original's weights."""
        gradients = self.fitting(self.forget_gradients)
        self.masks = saliency_masks(gradients, self.args.density, sharing(self.model))
        self._originals: dict[str, Tensor] | None = None
        # Momentum from an earlier `train()` would move weights that were free there and are masked here.
        self._optimizer_is_fresh = self.optimizer is None or not self.optimizer.state
        self.remove_callback(PutBack)
        self.add_callback(PutBack(self))

    def forget_gradients(self, batch_size: int | None = None) -> dict[str, Tensor]:
        """Return the sum over all of D_f of the gradient of the task's loss, in eval mode, by parameter name.

        Of sharded weights it is this process's part. Every process runs all rows, in the same batches, so that the sum
        is the same for any number of processes.
        """
        model, was_training = self.model, self.model.training
        rows = Subset(self.rows, self.rows.is_forget.nonzero()[0].tolist())
        model.eval()
        model.zero_grad()
        for inputs in DataLoader(rows, batch_size=batch_size or self._train_batch_size, collate_fn=self.collator):
            batch, _ = self.forward(model, self._prepare_inputs(inputs), None)
            batch.losses().sum().backward()
        gradients = {
            name: torch.zeros_like(local(weight)) if weight.grad is None else local(weight.grad).clone()
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }
        model.zero_grad()
        model.train(was_training)
        return gradients

    @torch.no_grad()
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Do one micro-batch; when the update's gradient is complete, mask it, before it is clipped."""
        with torch.enable_grad():
            loss = super().training_step(*args, **kwargs)
        if self._originals is None:
            # A state of this run has the original's values there, so that it does not matter whether one was resumed.
            needed = not (self._optimizer_is_fresh and leaves_alone(self.optimizer))
            self._originals = {name: local(weight).clone() for name, weight in self._masked()} if needed else {}
        if self.accelerator.sync_gradients:
            for name, weight in self._masked():
                if weight.grad is not None:
                    local(weight.grad).masked_fill_(self.masks[name].logical_not(), 0)
        return loss

    @torch.no_grad()
    def put_back(self) -> None:
        """Give masked weights the values that they had before the first step."""
        if self._originals:
            for name, weight in self._masked():
                torch.where(self.masks[name], local(weight), self._originals[name], out=local(weight))

    def _masked(self) -> Iterator[tuple[str, Tensor]]:
        parameters = dict(self.model.named_parameters())
        return ((name, parameters[name]) for name in self.masks)


LEAVING_ALONE = ("adamw_torch", "adamw_torch_fused", "sgd")
"""What ``Trainer`` calls the optimizers that ``leaves_alone`` knows."""


def leaves_alone(optimizer: Any) -> bool:
    """Return whether an optimizer is known to leave a weight, bit for bit, whose gradient was always zero.

    Adam's step is zero over epsilon, and that of SGD zero; both without weight decay, which moves every weight.
    """
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it.
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        return False
    return all(group["weight_decay"] == 0 and group.get("eps", 1) > 0 for group in optimizer.param_groups)
