"""Speech to text: an encoder hears a recording, a decoder writes what was said, as Whisper does."""

from __future__ import annotations

from typing import Any

from mubench_hf.kinds._hierarchy import tasks_of, writes
from mubench_hf.kinds.seq2seq import HEARING, Seq2Seq


class SpeechToText(Seq2Seq):
    """As sequence to sequence; a row's input is ``input_features`` or ``input_values`` in place of tokens."""

    key = "speech_to_text"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model writes a text for a recording."""
        return writes(model, with_encoder=True) and bool(tasks_of(model) & HEARING)
