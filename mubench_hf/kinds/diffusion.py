"""Text-to-image diffusion: the loss is the error of the predicted noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Reduction
from mubench_hf.kinds._donors import DonorKind
from mubench_hf.kinds._losses import row_squared_error

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Diffusion(DonorKind):
    """Squared error of predicted noise; from a teacher, squared distance at the same time and noise."""

    key = "diffusion"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model predicts noise."""
        return hasattr(model, "noise_scheduler")

    def noised(self, inputs: dict[str, Any], keys: Tensor) -> dict[str, Any]:
        """Return the batch with the keys that its rows' time and noise are drawn from."""
        return {**inputs, "noise_keys": keys}

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, predicted noise ``[rows, channels, height, width]`` and the noise that was added."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, outputs.logits, outputs.noise

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the squared error of each row's predicted noise, its mean or sum over pixels and channels."""
        return row_squared_error(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Refuse: a denoiser gives an image no probability.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            "A diffusion model predicts noise and gives an image no log-likelihood. Use a method that needs none, or "
            "one that reads batch.losses()."
        )

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean squared distance of each row's two predictions; there is no temperature to apply."""
        return row_squared_error(teacher, student)

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row's prompt with the image of row ``drawn``."""
        return {**row, "pixel_values": rows[drawn]["pixel_values"]}
