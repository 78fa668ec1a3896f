"""Text-to-image diffusion: the loss is the error of the predicted noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mubench_hf.kinds._reading import without_labels
from mubench_hf.kinds._squared import SquaredErrorKind

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Diffusion(SquaredErrorKind):
    """Squared error of predicted noise; from a teacher, squared distance at the same time and noise."""

    key = "diffusion"
    no_likelihood = "predicts noise and gives an image"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model predicts noise."""
        return hasattr(model, "noise_scheduler")

    def noised(self, inputs: dict[str, Any], keys: Tensor) -> dict[str, Any]:
        """Return the batch with the keys that its rows' time and noise are drawn from."""
        return {**inputs, "noise_keys": keys}

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, predicted noise ``[rows, channels, height, width]`` and the noise that was added."""
        outputs = model(**without_labels(inputs))
        return outputs, outputs.logits, outputs.noise

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row's prompt with the image of row ``drawn``."""
        return {**row, "pixel_values": rows[drawn]["pixel_values"]}
