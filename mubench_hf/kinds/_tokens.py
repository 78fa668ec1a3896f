"""What kinds that write texts have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from mubench_hf.kinds._donors import DonorKind
from mubench_hf.kinds._positions import PositionKind
from mubench_hf.kinds._texts import TokenisedRows, form_of, tokenizer_in


class TokenKind(PositionKind, DonorKind):
    """The label positions are the tokens of a target that is written; a random target is that of a row of D_r."""

    def collator(self, processing_class: Any) -> Callable[[list[Any]], Mapping[str, Any]] | None:
        """Return the collator that pads labels, too, if there is a tokenizer."""
        if not isinstance(processing_class, PreTrainedTokenizerBase):
            return None
        if processing_class.pad_token is None and processing_class.eos_token is not None:
            # Many writers have no token for padding. Any will do, since it is neither attended to nor scored.
            processing_class = copy.deepcopy(processing_class)
            processing_class.pad_token = processing_class.eos_token
        return DataCollatorForSeq2Seq(processing_class)

    def readable(self, rows: Any, processing_class: Any) -> Any:
        """Return rows of tokens, made when they are read if ``rows`` hold texts."""
        form = form_of(rows)
        if form is None:
            return rows
        tokenizer = tokenizer_in(processing_class, form)
        return TokenisedRows(rows, partial(self.tokenised, tokenizer=tokenizer))

    @abstractmethod
    def tokenised(self, row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
        """Return the model's inputs of a row of texts.

        Raises:
            BadInput: If the row holds none that can be used.
        """

    @abstractmethod
    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the tokens of a prepared row that a text is generated from."""
