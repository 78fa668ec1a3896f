"""Texts that continue a prompt beside an image, a video or a sound, as in answers of LLaVA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.kinds._hierarchy import tasks_of, writes
from mubench_hf.kinds.causal_lm import SEEING, CausalLM


class ImageTextToText(CausalLM):
    """As causal language models; a row's other inputs, such as ``pixel_values``, stay as they are.

    A model with an encoder for the whole input, such as one that captions images, is of the kind ``seq2seq``.
    """

    key = "image_text_to_text"

    def tokenised(self, row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
        """Refuse: where images stand in a text is known to the model's own processor.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            "A model that sees images takes rows that its processor prepared: input_ids, pixel_values and what else it "
            "makes, and labels that are -100 over the prompt."
        )

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model continues a text and takes more than texts."""
        return writes(model, with_encoder=False) and bool(tasks_of(model) & SEEING)
