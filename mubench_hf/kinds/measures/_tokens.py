"""What measurements of written text have in common: losses of label tokens, greedy texts, one probability per row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.kinds._losses import IGNORED, row_js
from mubench_hf.kinds._tokens import TokenKind
from mubench_hf.kinds.measures._answers import NAMES, answer_log_probs
from mubench_hf.kinds.measures._base import Measure, RowAnswer, incompetent, truth_logits
from mubench_hf.kinds.measures._membership import ATTACKED, attacked
from mubench_hf.models.outputs import evaluating, over_batches

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.tasks import TaskSpec

SPLITS = ("forget", "retain", "test")

BATCH, GENERATION_BATCH = 32, 64
"""Rows measured at once, which need a distribution for every token; and rows generated at once, which need one only for
the last token, but whose batch goes on until its longest text has ended."""


ANSWERS = frozenset(f"{split}_{name}" for split in SPLITS for name in NAMES)


class TokenMeasure(Measure):
    """Measures the loss of each row's label tokens and the text that is decoded greedily.

    Attributes:
        fill_before: Whether shorter prompts of a batch are padded before their first token, not after their last.
    """

    on_request = frozenset({"incompetent_forget_divergences", *ANSWERS, *ATTACKED})
    kind: TokenKind
    fill_before: ClassVar[bool]

    @abstractmethod
    def continuation(self, generated: Tensor, prompt_length: int) -> Tensor:
        """Return the newly generated tokens, ``[rows, tokens]``, among those that ``generate`` returned."""

    def measure(
        self, model: Any, data: TaskData, seed: int, *, keep: bool = False, wanted: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return, for each split in upstream order, the rows' true targets and the model's outputs on them.

        ``<split>_logits`` and ``_labels``: see ``truth_logits``, with the mean loss of a row's tokens.
        ``<split>_predicted_tokens`` and ``_label_tokens``: int32 ``[rows, positions]``, most likely and true token,
        -100 past a row's end. ``<split>_predictions`` and ``_references``: texts ``[rows]``, greedily generated and
        true. ``incompetent_forget_divergences``: mean Jensen-Shannon divergence of a D_f row's token distributions from
        those of an untrained model, in bits. ``<split>_paraphrased_log_probs`` and ``_perturbed_log_probs``: see
        ``answer_log_probs``. What attacks read of D_f and test: see ``attacked``.
        """
        outputs: dict[str, np.ndarray] = {"chance": np.asarray(0.0)}
        for split in SPLITS:
            rows = JoinedRows(data.splits[split], None)
            compares = split == "forget" and self.asks("incompetent_forget_divergences", wanted)
            other = incompetent(model, seed) if compares else None
            outputs |= {f"{split}_{name}": value for name, value in self._tokens(model, rows, data, other).items()}
            outputs[f"{split}_predictions"] = self._texts(model, rows, data)
            outputs[f"{split}_references"] = np.asarray(rows.labels, dtype=np.str_)
            if any(self.asks(f"{split}_{name}", wanted) for name in NAMES):
                answers = answer_log_probs(self, model, data, split)
                outputs |= {f"{split}_{name}": value for name, value in answers.items()}
            asked = {name for name in ATTACKED if name.startswith(split) and self.asks(name, wanted)}
            names = [name.removeprefix(f"{split}_") for name in asked]
            read = attacked(self.kind, model, rows, data, names)
            outputs |= {f"{split}_{name}": value for name, value in read.items()}
        if "forget_divergences" in outputs:
            outputs["incompetent_forget_divergences"] = outputs.pop("forget_divergences")
        return outputs

    def measurable(self, task: TaskSpec) -> frozenset[str]:
        """Return ``on_request``, without other answers if rows of the task have none."""
        return self.on_request - (ANSWERS if task.answers is None else frozenset())

    def row_losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        """Return the mean loss of each row's label tokens, in nats; nothing is generated."""
        return -self._tokens(model, rows, data, None)["logits"][:, 0]

    def measure_rows(self, model: Any, rows: JoinedRows, data: TaskData) -> dict[str, np.ndarray]:
        """Return some rows' true targets, and the model's outputs on them; see ``measure``."""
        texts = {"predictions": self._texts(model, rows, data), "references": np.asarray(rows.labels, dtype=np.str_)}
        return {**self._tokens(model, rows, data, None), **texts}

    def truths(self, model: Any, data: TaskData) -> dict[str, np.ndarray]:
        """Return what the tokens of every split say, without the texts, which take most of the time."""
        found = {}
        for split in ("forget", "retain", "test"):
            measured = self._tokens(model, JoinedRows(data.splits[split], None), data, None)
            found |= {f"{split}_{name}": value for name, value in measured.items()}
        return found

    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return the text that the model writes for one row, and the mean loss of the row's label tokens."""
        text = str(self._texts(model, [row], data)[0])
        if not scored:
            return RowAnswer(None, text=text)
        with evaluating(model):
            _, predictions, labels = self.kind.run(model, send_to_device(dict(data.collator([row])), model.device))
            return RowAnswer(self.kind.row_losses(predictions, labels).item(), text=text)

    def _tokens(self, model: Any, rows: Dataset, data: TaskData, other: Any) -> dict[str, np.ndarray]:
        """Return the model's outputs on the rows' true tokens from one pass, compared with ``other`` if it is given."""
        collate = FlaggedCollator(data.collator).without_flags

        def measured(batch: Mapping[str, Any], places: range) -> tuple[np.ndarray, ...]:
            inputs = send_to_device(dict(batch), model.device)
            _, predictions, labels = self.kind.run(model, inputs)
            compared = ()
            if other is not None:
                with evaluating(other):
                    compared = (row_js(predictions, self.kind.run(other, inputs)[1], labels),)
            losses = self.kind.row_losses(predictions, labels)
            made = (losses, predictions.argmax(-1).int(), labels.int(), *compared)
            return tuple(each.cpu().numpy() for each in made)

        with evaluating(model):
            losses, predicted, true, *divergences = zip(*over_batches(rows, collate, measured, BATCH), strict=True)
        logits, labels = truth_logits(np.concatenate(losses))
        found = {"logits": logits, "labels": labels, "label_tokens": _padded(true)}
        found["predicted_tokens"] = np.where(
            found["label_tokens"] == IGNORED, np.int32(IGNORED), _padded(predicted)
        ).astype(np.int32)
        return found | ({"divergences": np.concatenate(divergences[0])} if divergences else {})

    def _texts(self, model: Any, rows: Dataset | list[dict[str, Any]], data: TaskData) -> np.ndarray:
        tokenizer = getattr(data.processor, "tokenizer", data.processor)
        # A target ends with the tokenizer's end token, which not all models' settings name; chat models may not pad.
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        ends["pad_token_id"] = ends["eos_token_id"] if ends["pad_token_id"] is None else ends["pad_token_id"]
        # Where prompt and target are one text, they share the model's positions. The prompts at hand do not count, or
        # what is written for a row would hang on the rows beside it.
        room = tokenizer.model_max_length // (2 if self.fill_before else 1)
        settings = {**ends, "max_new_tokens": min(data.max_target_tokens, room), "do_sample": False, "num_beams": 1}

        def written(held: list[dict[str, Any]], places: range) -> list[str]:
            inputs = self._filled_up([self.kind.prompt(row) for row in held], ends["pad_token_id"])
            inputs = send_to_device(inputs, model.device)
            generated = self.continuation(model.generate(**inputs, **settings), inputs["input_ids"].shape[1])
            return tokenizer.batch_decode(generated, skip_special_tokens=True)

        with evaluating(model):
            texts = over_batches(rows, list, written, GENERATION_BATCH)
        return np.asarray([text for batch in texts for text in batch], dtype=np.str_)

    def _filled_up(self, prompts: list[list[int]], token: int) -> dict[str, Tensor]:
        """Return prompts as one batch, shorter ones padded with ``token``, which the mask hides."""
        longest = max(map(len, prompts))
        inputs: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": []}
        for prompt in prompts:
            missing = longest - len(prompt)
            for name, own, other in (("input_ids", prompt, token), ("attention_mask", [1] * len(prompt), 0)):
                filled = [other] * missing
                inputs[name].append([*filled, *own] if self.fill_before else [*own, *filled])
        return {name: torch.tensor(values) for name, values in inputs.items()}


def _padded(batches: Sequence[np.ndarray]) -> np.ndarray:
    """Return batches whose rows differ in length as one array ``[rows, positions]``, padded with -100."""
    rows = [row for batch in batches for row in batch]
    padded = np.full((len(rows), max(map(len, rows))), IGNORED, dtype=np.int32)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded
