"""Encoder-decoders that write a text for a text. The tiny one has a byte-pair tokenizer."""

from __future__ import annotations

from functools import partial

from mubench_hf.models.architectures._bpe import EOS_ID, PAD_ID, VOCABULARY, bpe_tokenizer
from mubench_hf.models.architectures._parts import maker
from mubench_hf.models.registry import Architecture, Scale

V1_1 = {"feed_forward_proj": "gated-gelu", "decoder_start_token_id": PAD_ID}
"""How version 1.1 differs from the first T5; both start to write with the padding token."""


def _published(
    scale: str,
    parameters: int,
    width: int,
    hidden: int,
    layers: int,
    heads: int,
    revision: str | None = None,
    pickled: bool = False,
) -> Scale:
    config = {"d_model": width, "d_ff": hidden, "num_layers": layers, "num_heads": heads, "tie_word_embeddings": False}
    return Scale(f"google/t5-v1_1-{scale}", parameters, "apache-2.0", config, revision, pickled=pickled)


ARCHITECTURES = (
    Architecture(
        "t5-v1.1",
        "T5 v1.1",
        modality="text",
        kind="seq2seq",
        auto_class="AutoModelForSeq2SeqLM",
        scales={
            "small": _published("small", 76_961_152, 512, 1024, 8, 6),
            "base": _published(
                "base", 247_577_856, 768, 2048, 12, 12, "b5fc947a416ea3cb079532cb3c2bbadeb7f800fc", True
            ),
            "large": _published("large", 783_150_080, 1024, 2816, 24, 16, "a98b0fcd0b8137ded40cdf0c0cf0ee884e7c9726"),
            "xl": _published("xl", 2_849_757_184, 2048, 5120, 24, 32),
            "xxl": _published("xxl", 11_135_332_352, 4096, 10_240, 24, 64, "3db67ab1af984cf10548a73467f0e5bca2aaaeb2"),
        },
        config=maker("T5Config", **V1_1),
        tiny_config=maker(
            "T5Config",
            **V1_1,
            vocab_size=VOCABULARY,
            d_model=64,
            d_kv=8,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=PAD_ID,
            eos_token_id=EOS_ID,
        ),
        tiny_processor=partial(bpe_tokenizer, append_eos=True),
    ),
)
