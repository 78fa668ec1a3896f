"""Text-to-image diffusion: how well rows are denoised, and the images that are generated for their prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from mubench_hf.data.columns import column
from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures._base import Measure, RowAnswer, truth_logits
from mubench_hf.models.outputs import evaluating, over_batches
from mubench_hf.utils.processes import spread

if TYPE_CHECKING:
    from datasets import Features

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.tasks import TaskSpec

LOSS_DRAWS = 4
"""Draws of time and noise over which a row's loss is averaged in evaluation; the same for every model."""

ERROR_TIMES = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Times of ``denoising_errors`` as shares of the noise schedule: 50 to 400 of 1000 steps. At smaller ones an error says
little of the image, and at larger ones any model sees little but noise."""

GENERATED = 200
"""Most images generated per split, for rows evenly spread over it."""


class DiffusionMeasure(Measure):
    """Measures the loss of predicted noise, and has the task's judge look at generated images."""

    key = "diffusion"
    on_request = frozenset({"forget_denoising_errors", "test_denoising_errors"})

    def measure(
        self, model: Any, data: TaskData, seed: int, *, keep: bool = False, wanted: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return, for each split in upstream order, how well its rows are denoised and what its prompts become.

        ``<split>_logits`` and ``_labels``: see ``truth_logits``, with a row's loss over the same draws for every model.
        Images are generated for the prompts of at most ``GENERATED`` rows, evenly spread. They give
        ``<split>_generated_logits`` (float32 ``[images, classes]``) and ``_generated_features`` of the task's judge,
        ``_generated_labels``, and ``_real_features`` of the rows' own images. ``<split>_denoising_errors``: see
        ``_errors``.
        """
        outputs: dict[str, np.ndarray] = {"chance": np.asarray(1 / len(data.label_names))}
        every = {split: JoinedRows(data.splits[split], None) for split in ("forget", "retain", "test")}
        # The images of a split are one batch.
        images = spread([*every.values()], lambda rows: self._images(model, rows, data))
        for (split, rows), drawn in zip(every.items(), images, strict=True):
            logits, labels = truth_logits(self._losses(model, rows, data))
            found = {"logits": logits, "labels": labels, **drawn}
            outputs |= {f"{split}_{name}": value for name, value in found.items()}
            name = f"{split}_denoising_errors"
            if name in self.on_request and self.asks(name, wanted):
                outputs[name] = self._errors(model, rows, data)
        _beside(data.judge, torch.device("cpu"))  # It is kept for the next checkpoint, which may have to be trained.
        return outputs

    def row_losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        """Return the squared error of each row's predicted noise, the mean over draws that hang on its position."""
        return self._losses(model, rows, data)

    def measure_rows(self, model: Any, rows: JoinedRows, data: TaskData) -> dict[str, np.ndarray]:
        """Return how well some rows are denoised and what their prompts become; see ``measure``."""
        logits, labels = truth_logits(self._losses(model, rows, data))
        found = {"logits": logits, "labels": labels, **self._images(model, rows, data)}
        _beside(data.judge, torch.device("cpu"))
        return found

    def check_truths(self) -> None:
        """Refuse: the error of predicted noise is no probability of the image.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            "Denoisers give a row's image no probability, so it has no log-odds, and there are no shadow models for "
            "rmia, lira_offline, ulira and klom. Use metrics of denoising errors."
        )

    def _losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        collate = FlaggedCollator(data.collator).without_flags

        def losses(batch: Mapping[str, Any], places: range) -> np.ndarray:
            inputs = send_to_device(dict(batch), model.device)
            return self._mean_losses(model, inputs, torch.as_tensor(places)).cpu().numpy()

        with evaluating(model):
            return np.concatenate(over_batches(rows, collate, losses))

    def _mean_losses(self, model: Any, inputs: dict[str, Any], places: Tensor) -> Tensor:
        """Return the loss of each row, the mean over the draws that belong to its position."""
        draws = [
            self.kind.row_losses(*self.kind.run(model, self.kind.noised(inputs, places * LOSS_DRAWS + draw))[1:])
            for draw in range(LOSS_DRAWS)
        ]
        return torch.stack(draws).mean(0)

    def _errors(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        """Return the squared error of each row's predicted noise at ``ERROR_TIMES``, float32 ``[rows, times]``.

        A row's noise at a time is a function of its index in the upstream data, or of its image if it has none: the
        same for every model, split, ratio and batch.
        """
        collate, steps = FlaggedCollator(data.collator).without_flags, model.noise_scheduler.config.num_train_timesteps
        indices = column(rows.parts[0], "index")
        indices = None if indices is None else indices[rows.place]

        def errors(batch: Mapping[str, Any], places: range) -> np.ndarray:
            inputs = send_to_device(dict(batch), model.device)
            clean, prompts = model.encode(inputs["pixel_values"]), inputs["input_ids"]
            images = [image.cpu().numpy().tobytes() for image in inputs["pixel_values"]] if indices is None else ()
            keys = images or [str(index).encode() for index in indices[places.start : places.stop]]
            made = []
            for share in ERROR_TIMES:
                time = round(share * steps)
                noise = torch.stack([_noise(key, time, clean.shape[1:]) for key in keys]).to(clean)
                times = torch.full((len(keys),), time, device=clean.device)
                predicted = model.predict_noise(clean, noise, times, prompts)
                made.append(self.kind.row_losses(predicted, noise))
            return torch.stack(made, dim=1).cpu().numpy()

        with evaluating(model):
            return np.concatenate(over_batches(rows, collate, errors))

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
        judge = _beside(data.judge, model.device)
        logits, features = judge(np.concatenate(made))
        return {
            "generated_logits": logits,
            "generated_labels": np.asarray(rows.labels)[chosen],
            "generated_features": features,
            "real_features": judge(np.concatenate(real))[1],
        }

    def given(self, task: TaskSpec, features: Features) -> tuple[str, ...]:
        """Return the prompt's columns, since the image is what the model has to draw."""
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
        return RowAnswer(loss, logits=_beside(data.judge, model.device)(image)[0][0], image=image[0])


def _noise(key: bytes, time: int, shape: torch.Size) -> Tensor:
    """Return the noise, float32 of that shape, that belongs to a row and a time."""
    digest = hashlib.sha256(b"%d " % time + key).digest()
    return torch.randn(shape, generator=torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1))


def _beside(judge: Any, device: torch.device) -> Any:
    """Return a judge that looks at images on a device, if it runs on one."""
    return judge.to(device) if hasattr(judge, "to") else judge
