"""A byte-level tokenizer small enough to be made from a task's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VOCABULARY = 600
TOKENS = 512
"""Most tokens a tiny model reads."""

PAD, EOS = "<pad>", "</s>"
PAD_ID, EOS_ID = 0, 1


def bpe_tokenizer(texts: Sequence[str], *, size: int = VOCABULARY, append_eos: bool = False) -> Any:
    """Return a fast byte-pair tokenizer that depends only on ``texts`` and their order.

    Decoding gives back any text as it was, even with characters that are not in ``texts``: all 256 bytes are tokens.
    Padding is token 0 and the end of a text token 1.

    Args:
        texts: Texts of the train set.
        size: Most tokens in the vocabulary, at least 258; there are fewer if the texts have no pairs left.
        append_eos: Whether the tokenizer ends each text itself, as T5's does.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if append_eos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, EOS_ID)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        # Decoding gives the text itself, without tidying up its spaces.
        clean_up_tokenization_spaces=False,
        pad_token=PAD,
        eos_token=EOS,
    )
