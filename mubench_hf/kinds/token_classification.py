"""Token classification: a class for each position of a text, as for names of persons and places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from mubench_hf.kinds._hierarchy import tasks_of
from mubench_hf.kinds._labels import check_another_class, label_name, like, wrong_class
from mubench_hf.kinds._losses import IGNORED
from mubench_hf.kinds._positions import PositionKind
from mubench_hf.kinds._reading import classes_in, labels_in, position_logits, without_labels
from mubench_hf.models.bare import bare_model

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class TokenClassification(PositionKind):
    """Labels stand beside the logits of their own position; -100 marks padding and tokens that are not scored."""

    key = "token_classification"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model gives every position a class."""
        return "TOKEN_CLASSIFICATION" in tasks_of(model)

    def check_labels(self, name: str, labels: Sequence[Any], num_labels: int | None) -> None:
        """Check that every label is a class or -100."""
        wrong_class(name, labels, num_labels, ignored=True)

    def collator(self, processing_class: Any) -> Callable[[list[Any]], Mapping[str, Any]] | None:
        """Return the collator that pads labels, too, if there is a tokenizer."""
        tokenizer = processing_class if isinstance(processing_class, PreTrainedTokenizerBase) else None
        return DataCollatorForTokenClassification(tokenizer) if tokenizer else None

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, positions, classes]`` and labels ``[rows, positions]``."""
        labels = classes_in(labels_in(inputs), bare_model(model).config.num_labels, self.key, ignored=True)
        outputs = model(**without_labels(inputs))
        return outputs, position_logits(outputs, model, labels, self.key), labels

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw a seed for each row, from which those of its positions are drawn."""
        return rng.integers(2**63 - 1, size=len(is_forget))

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with another class, drawn uniformly, at every position that is scored.

        Raises:
            BadInput: If the row has no labels, or one that is no class.
        """
        name = label_name(row)
        wrong_class("A row", [row[name]], num_labels, ignored=True)
        check_another_class(num_labels)
        own = np.asarray(row[name])
        offsets = np.random.default_rng(drawn).integers(1, num_labels, size=own.shape)
        return {**row, name: like(np.where(own == IGNORED, own, (own + offsets) % num_labels), row[name])}
