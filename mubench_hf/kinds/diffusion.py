"""Text-to-image diffusion: the loss is of predicted noise, and what is scored are generated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.kinds._base import Kind, RowAnswer, truth_logits
from mubench_hf.models.outputs import evaluating, row_batches

if TYPE_CHECKING:
    from datasets import Features
    from torch.utils.data import Dataset

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.tasks import TaskSpec

LOSS_DRAWS = 4
"""Draws of time and noise over which a row's loss is averaged in evaluation; the same for every model."""

GENERATED = 200
"""Most images generated a split, for rows evenly spread over it."""


class Diffusion(Kind):
    """Squared error of predicted noise; from a teacher, squared distance at the same time and noise."""

    def reads(self, model: Any) -> bool:
        """Return whether the model predicts noise."""
        return hasattr(model, "noise_scheduler")

    def noised(self, inputs: dict[str, Any], keys: Tensor) -> dict[str, Any]:
        """Return the batch with the keys that its rows' time and noise are drawn from."""
        return {**inputs, "noise_keys": keys}

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, predicted noise ``[rows, channels, height, width]`` and the noise that was added."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, outputs.logits, outputs.noise

    def row_losses(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error of each row's predicted noise."""
        return (predictions.float() - labels.float()).square().flatten(1).mean(1)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean squared distance of each row's two predictions; there is no temperature to apply."""
        return (teacher.float() - student.float()).square().flatten(1).mean(1)

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Return a row of D_r for each row, uniform: the one whose image it takes."""
        return rng.choice(np.flatnonzero(~is_forget), size=len(is_forget))

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row's prompt with the image of row ``drawn``."""
        return {**row, "pixel_values": rows[drawn]["pixel_values"]}

    def measure(self, model: Any, data: TaskData, seed: int, *, keep: bool = False) -> dict[str, np.ndarray]:
        """Return, for each split in upstream order, how well its rows are denoised and what its prompts become.

        ``<split>_logits`` and ``_labels``: see ``truth_logits``, with a row's loss over the same draws for every model.
        Of at most ``GENERATED`` rows, evenly spread, for whose prompts images are generated:
        ``<split>_generated_logits`` (float32 ``[images, classes]``) and ``_generated_features`` of the task's judge,
        ``_generated_labels``, and ``_real_features`` of the rows' own images.
        """
        outputs: dict[str, np.ndarray] = {"chance": np.asarray(1 / len(data.label_names))}
        for split in ("forget", "retain", "test"):
            rows = JoinedRows(data.splits[split], None)
            logits, labels = truth_logits(self._losses(model, rows, data))
            found = {"logits": logits, "labels": labels, **self._images(model, rows, data)}
            outputs |= {f"{split}_{name}": value for name, value in found.items()}
        return outputs

    def _losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        collate, losses, first = FlaggedCollator(data.collator).without_flags, [], 0
        with evaluating(model):
            for held in row_batches(rows):
                inputs = send_to_device(dict(collate(held)), model.device)
                losses.append(self._mean_losses(model, inputs, first + torch.arange(len(held))).cpu().numpy())
                first += len(held)
        return np.concatenate(losses)

    def _mean_losses(self, model: Any, inputs: dict[str, Any], places: Tensor) -> Tensor:
        """Return the loss of each row, the mean over the draws that belong to its place."""
        draws = [
            self.row_losses(*self.run(model, self.noised(inputs, places * LOSS_DRAWS + draw))[1:])
            for draw in range(LOSS_DRAWS)
        ]
        return torch.stack(draws).mean(0)

    def _images(self, model: Any, rows: JoinedRows, data: TaskData) -> dict[str, np.ndarray]:
        """Return the judge's view of images generated for some rows' prompts, and of those rows' own images."""
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(GENERATED, len(rows))).round().astype(int))
        made, real = [], []
        with evaluating(model):
            for place in np.array_split(chosen, -(-len(chosen) // GENERATED)):
                held = [rows[int(position)] for position in place]
                prompts = torch.stack([row["input_ids"] for row in held]).to(model.device)
                made.append(model.generate_images(prompts, place.tolist()).cpu().numpy())
                real.append(np.stack([(row["pixel_values"].numpy() + 1) / 2 for row in held]))
        logits, features = data.judge(np.concatenate(made))
        return {
            "generated_logits": logits,
            "generated_labels": np.asarray(rows.labels)[chosen],
            "generated_features": features,
            "real_features": data.judge(np.concatenate(real))[1],
        }

    def given(self, task: TaskSpec, features: Features) -> tuple[str, ...]:
        """Return the prompt's columns: the image is what is to be drawn."""
        from datasets import Image

        return tuple(name for name in task.inputs if not isinstance(features[name], Image))

    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return the image that is drawn for a row's prompt, the judge's logits of it, and the row's own loss."""
        with evaluating(model):
            image = model.generate_images(row["input_ids"][None].to(model.device), [place]).cpu().numpy()
            loss = None
            if scored:
                inputs = send_to_device(dict(data.collator([row])), model.device)
                loss = self._mean_losses(model, inputs, torch.tensor([place])).item()
        return RowAnswer(loss, logits=data.judge(image)[0][0], image=image[0])


KIND = Diffusion()
