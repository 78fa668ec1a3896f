"""One task at one deletion ratio: its rows, one's own input, and what each model says of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from mubench_hf.data.prepare import TaskData, load_task_data
from mubench_hf.demo.answers import Answer, marked
from mubench_hf.demo.clips import Clips
from mubench_hf.demo.membership import Attacker
from mubench_hf.demo.models import ModelCache, working
from mubench_hf.demo.rows import Field, Sample, enlarged
from mubench_hf.demo.samples import Samples
from mubench_hf.demo.sentences import what_changed
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models.loading import load_model, saved_processor
from mubench_hf.results.aggregate import aggregate, heading
from mubench_hf.runs.setup import recorded_model
from mubench_hf.tasks import recorded_task

if TYPE_CHECKING:
    from PIL.Image import Image

    from mubench_hf.kinds.measures import RowAnswer
    from mubench_hf.runs.result import RunResult

ANSWERS = 128
"""Answers kept: asking again, or for what another one is compared with, costs nothing."""


@dataclass(frozen=True)
class Checkpoint:
    """One finished run.

    Attributes:
        result: Its result.
        folder: Returns the local folder of its model, which is fetched first where it is on a Hub.
        outputs: Returns what was measured of it.
    """

    result: RunResult
    folder: Callable[[], Path]
    outputs: Callable[[], dict[str, np.ndarray]]


@dataclass(frozen=True)
class DataPlace:
    """Where a data set is: the arguments of ``load_task_data`` of these names."""

    out: Path
    org: str = "mubench"
    revision: str | None = None


class Bench:
    """A task at a ratio. Rows and models are loaded when they are first needed; several threads may ask at once.

    Args:
        results: Results at this ratio, of all seeds.
        checkpoints: Method → the run that is shown, the original among them.
        place: Where the data set is.
        models: Models in memory.
        clips: Where videos to show are written.

    Attributes:
        title: Task, stand-in or not, model, ratio and seeds.
        task: The task.
        variant: Where the rows come from.
        ratio: Percent of train that was to be forgotten; ``None`` where the rows were named.
    """

    def __init__(
        self,
        results: Sequence[RunResult],
        checkpoints: Mapping[str, Checkpoint],
        place: DataPlace,
        models: ModelCache,
        clips: Clips,
    ):
        self._checkpoints, self._place, self._models, self._clips = checkpoints, place, models, clips
        original = checkpoints["original"].result
        run, self.variant, self.ratio = original.run, original.variant, results[0].del_ratio
        self.task = recorded_task(run.task, original.external)
        self.title = heading(aggregate(results)[0], self.task.title)
        checkpoint = str(original.external.get("model", {}).get("name", run.model))
        self._architecture = recorded_model(run.model, self.task, checkpoint).architecture
        self._measure = get_measure(self.task.kind)
        self._loaded: Samples | None = None
        self._attackers: dict[str, Attacker | str] = {}
        self._answers: dict[tuple[str, str], Answer] = {}
        # Of what is kept, and of the rows: fetching those may take minutes.
        self._lock, self._loading = threading.Lock(), threading.Lock()

    @property
    def inputs(self) -> tuple[Field, ...]:
        """What one can bring oneself."""
        return tuple(self._samples.fields.values())

    def count(self, split: str) -> int:
        """Return the number of rows of ``forget``, ``retain`` or ``test``.

        Raises:
            BadInput: If the split is another one.
        """
        return self._samples.count(split)

    def sample(self, split: str, position: int) -> Sample:
        """Return the row at a place of a split, in upstream order, counted from 0.

        Raises:
            BadInput: If there is no such split or place.
        """
        return self._samples.of_split(split, position)

    def own(self, values: Mapping[str, Any]) -> Sample:
        """Return a sample made of one's own input; see ``inputs``.

        Args:
            values: Field name → path of a file, text or choice; ``None`` and an empty text count as left out.

        Raises:
            BadInput: If a field is unknown, a needed one is left out, or a value cannot be used.
        """
        return self._samples.own(values)

    def answer(self, method: str, sample: Sample) -> Answer:
        """Return what the model of a method says of a sample of this bench.

        Raises:
            BadInput: If there is no such model, or its checkpoint cannot be used.
        """
        if method not in self._checkpoints:
            raise unknown_name("method", method, self._checkpoints)
        key = (method, sample.key)
        with self._lock:
            answer = self._answers.pop(key, None)
        answer = answer or self._ask(method, sample)
        with self._lock:
            self._answers[key] = answer  # The last one in is the last one out.
            while len(self._answers) > ANSWERS:
                del self._answers[next(iter(self._answers))]
        return answer

    def sentence(self, answers: Sequence[Answer]) -> str:
        """Return one plain sentence of what changed against the original and the retrained model."""
        return what_changed(answers)

    def _ask(self, method: str, sample: Sample) -> Answer:
        checkpoint = self._checkpoints[method]
        said = self._said(checkpoint, sample)
        answer = Answer(method, checkpoint.result.seed, text=said.text, loss=said.loss, truth=sample.truth)
        if said.logits is not None and np.isfinite(said.logits).all():
            shares = softmax(said.logits.astype(np.float64)).tolist()
            answer = replace(answer, probabilities=dict(zip(self._samples.data.label_names, shares, strict=True)))
        if said.text is not None:
            original = said.text if method == "original" else self.answer("original", sample).text
            pieces, changed = marked(said.text, original)
            answer = replace(answer, marked=pieces, changed=changed)
        if said.image is not None:
            answer = replace(answer, image=_picture(said.image))
        membership, reason = self._membership(method, said.loss)
        return replace(answer, membership=membership, membership_reason=reason)

    def _said(self, checkpoint: Checkpoint, sample: Sample) -> RowAnswer:
        folder, data = checkpoint.folder(), self._samples.data
        with working(checkpoint.result.config.get("cpu_threads")):
            model = self._models.get(folder, partial(load_model, folder, self._architecture.auto_class))
            # Tokenizers keep settings of their last call, so that they too serve one at a time.
            row = self.task.prepare(sample.row, data.processor)
            return self._measure.answer_row(model, row, data, place=sample.position, scored=sample.scored)

    def _membership(self, method: str, loss: float | None) -> tuple[float | None, str | None]:
        """Return how sure the attacker is, or why it says nothing."""
        if loss is None:
            return None, "The attacker looks at how sure a model is of the truth, which is not given here."
        if not np.isfinite(loss):
            return None, "The model's loss is not a finite number."
        with self._lock:
            attacker = self._attackers.get(method)
        if attacker is None:
            try:
                attacker = Attacker(self._checkpoints[method].outputs())
            except BadInput as error:
                attacker = str(error)
            with self._lock:
                self._attackers[method] = attacker
        return (None, attacker) if isinstance(attacker, str) else (attacker.membership(loss), None)

    @property
    def _samples(self) -> Samples:
        """The rows, loaded at the first use."""
        if self._loaded is None:
            folder = self._checkpoints["original"].folder()
            with self._loading:
                self._loaded = self._loaded or Samples(self._load_data(folder), self._clips)
        return self._loaded

    def _load_data(self, original: Path) -> TaskData:
        processor = saved_processor(original, processor_class=self._architecture.processor_class)
        data = load_task_data(
            self.task, variant=self.variant, ratio=self.ratio, processor=lambda texts: processor, **vars(self._place)
        )
        found, needed = data.manifest["fingerprint"], self._checkpoints["original"].result.data_fingerprint
        if found != needed:
            raise BadInput(
                f"The rows of {self.task.dataset_name(self.variant)} here (fingerprint {found[:12]}) are not those "
                f"that the models were trained on ({needed[:12]}). Show them beside their data."
            )
        return data


def _picture(pixels: np.ndarray) -> Image:
    """Return an image of pixels ``[channels, height, width]`` in [0, 1], enlarged if it is small."""
    from PIL import Image

    return enlarged(Image.fromarray(np.round(pixels.transpose(1, 2, 0) * 255).astype(np.uint8)))
