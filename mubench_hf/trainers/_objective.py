"""``compute_loss`` of a method: what it minimises in training, and the task's own loss everywhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Module

from mubench_hf.data.joined import IS_FORGET
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from mubench_hf.trainers._base import UnlearningTrainer
    from mubench_hf.trainers._batch import Batch


def over_batch(objective: Callable[[Any, Batch], Tensor]) -> Callable[..., Any]:
    """Turn ``compute_loss(self, batch)`` into the ``compute_loss`` that ``Trainer`` calls.

    The student runs once and its outputs are returned if asked for, so a method only says what its loss is on a
    ``Batch``. A method that needs more can override ``compute_loss`` with ``Trainer``'s signature instead.
    """

    @wraps(objective, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def compute_loss(
        self: UnlearningTrainer,
        model: Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        batch, outputs = self.forward(model, inputs, num_items_in_batch)
        loss = objective(self, batch)
        return (loss, outputs) if return_outputs else loss

    del compute_loss.__wrapped__  # Its signature is that of `Trainer.compute_loss`.
    return compute_loss


def in_training(compute_loss: Callable[..., Any], task_loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is ``compute_loss`` on flagged batches, those of training, and else ``task_loss``.

    Raises:
        BadInput: If ``Trainer`` cannot call it.
    """
    if getattr(compute_loss, "guard", None) is compute_loss:
        return compute_loss
    parameters = inspect.signature(compute_loss).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_items_in_batch" not in parameters and not takes_any:
        raise BadInput(
            f"{compute_loss.__qualname__} takes {', '.join(parameters)}. Decorate one over a batch with @over_batch, "
            "or take what Trainer gives: model, inputs, return_outputs, num_items_in_batch."
        )

    @wraps(compute_loss)
    def guarded(self: UnlearningTrainer, model: Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return (compute_loss if IS_FORGET in inputs else task_loss)(self, model, inputs, *args, **kwargs)

    guarded.guard = guarded  # It names itself, so a copy of it on another function is told apart.
    return guarded
