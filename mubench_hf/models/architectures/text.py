"""Text classifiers. Tiny configurations read up to 128 tokens.

Whatever kind of tokenizer an architecture has on the Hub, that of its tiny model has whole words as tokens, and spells
other words by their characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mubench_hf.models.architectures._parts import LARGE, maker
from mubench_hf.models.registry import Architecture, Scale

TOKENS = 128
"""Most tokens a tiny model reads."""

VOCABULARY = 800
"""Most entries of a tiny model's vocabulary."""

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}

SMALL = {"vocab_size": VOCABULARY, "max_position_embeddings": TOKENS, "pad_token_id": 0, "initializer_range": 0.05}
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
"""For the config classes whose defaults are the widths of another size."""

ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
DEBERTA_V3 = {
    "relative_attention": True,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"


def vocabulary(words: Mapping[str, int], size: int) -> dict[str, int]:
    """Return the tokens of a tiny tokenizer and their numbers, a function of the counts alone.

    Special tokens come first, then characters at a word's start and within it (only the most frequent ones if all would
    take up more than half), then whole words by falling count; words that tie are in alphabetical order.

    Args:
        words: Word → how often it occurs.
        size: Most tokens.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count

    def most_frequent(found: Mapping[str, int]) -> list[str]:
        return sorted(found, key=lambda token: (-found[token], token))

    characters = sorted(most_frequent(counts)[: (size // 2 - len(SPECIAL)) // 2])
    tokens = [*SPECIAL.values(), *characters, *(f"##{character}" for character in characters)]
    tokens += most_frequent({word: count for word, count in words.items() if len(word) > 1 and word not in tokens})
    return {token: number for number, token in enumerate(tokens[:size])}


def tiny_tokenizer(texts: Sequence[str], size: int = VOCABULARY) -> Any:
    """Return a fast tokenizer whose lower-case vocabulary is made from ``texts``.

    Args:
        texts: Texts of the train set.
        size: Most tokens in the vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    numbers = vocabulary(words, size)
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    ends = [SPECIAL["cls_token"], SPECIAL["sep_token"]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, numbers[token]) for token in ends],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL,
    )


def _text(
    name: str, title: str, scales: Mapping[str, Scale], config: str = "BertConfig", **values: Any
) -> Architecture:
    return Architecture(
        name,
        title,
        modality="text",
        auto_class="AutoModelForSequenceClassification",
        scales=scales,
        config=maker(config),
        tiny_config=maker(config, **(values or {**SMALL, **SIZES, **NO_DROPOUT})),
        tiny_processor=tiny_tokenizer,
    )


ARCHITECTURES = (
    _text(
        "bert",
        "BERT",
        {
            "base": Scale(
                "google-bert/bert-base-uncased",
                109_483_778,
                "apache-2.0",
                revision="86b5e0934494bd15c9632b12f734a8a67f723594",
            ),
            "large": Scale(
                "google-bert/bert-large-uncased",
                335_143_938,
                "apache-2.0",
                LARGE,
                revision="6da4b6a26a1877e173fca3225479512db81a5e5b",
            ),
        },
    ),
    _text(
        "roberta",
        "RoBERTa",
        {
            "base": Scale(
                "FacebookAI/roberta-base",
                124_647_170,
                "mit",
                ROBERTA,
                revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
            ),
            "large": Scale(
                "FacebookAI/roberta-large",
                355_361_794,
                "mit",
                {**ROBERTA, **LARGE},
                revision="722cf37b1afa9454edce342e7895e588b6ff1d59",
            ),
        },
        "RobertaConfig",
        # Positions are counted from the one after the padding token's number.
        **{**SMALL, "max_position_embeddings": TOKENS + 1},
        **SIZES,
        **NO_DROPOUT,
        type_vocab_size=1,
        bos_token_id=2,
        eos_token_id=3,
    ),
    _text(
        "distilbert",
        "DistilBERT",
        {
            "base": Scale(
                "distilbert/distilbert-base-uncased",
                66_955_010,
                "apache-2.0",
                revision="12040accade4e8a0f71eabdb258fecc2e7e948be",
            )
        },
        "DistilBertConfig",
        **SMALL,
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
    ),
    _text(
        "electra",
        "ELECTRA",
        {
            "base": Scale(
                "google/electra-base-discriminator", 109_483_778, "apache-2.0", {**BASE, "embedding_size": 768}
            )
        },
        "ElectraConfig",
        **SMALL,
        **SIZES,
        **NO_DROPOUT,
        embedding_size=64,
    ),
    _text(
        "deberta-v3",
        "DeBERTa-v3",
        {
            "base": Scale(
                "microsoft/deberta-v3-base",
                184_423_682,
                "mit",
                {**BASE, **DEBERTA_V3, "num_hidden_layers": 12, "position_buckets": 256},
                revision="8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
                pickled=True,
            )
        },
        "DebertaV2Config",
        **SMALL,
        **SIZES,
        **NO_DROPOUT,
        **DEBERTA_V3,
        position_buckets=32,
        pooler_dropout=0.0,
    ),
    _text(
        "albert",
        "ALBERT",
        {
            "base-v2": Scale(
                "albert/albert-base-v2",
                11_685_122,
                "apache-2.0",
                BASE,
                revision="8e2f239c5f8a2c0f253781ca60135db913e5c80c",
            )
        },
        "AlbertConfig",
        **SMALL,
        **SIZES,
        **NO_DROPOUT,
        embedding_size=64,
        classifier_dropout_prob=0.0,
        bos_token_id=2,
        eos_token_id=3,
    ),
    _text(
        "biobert",
        "BioBERT",
        {
            "v1.1": Scale(
                "dmis-lab/biobert-v1.1",
                108_311_810,
                "unknown",
                {"vocab_size": 28_996},
                revision="551ca18efd7f052c8dfa0b01c94c2a8e68bc5488",
            )
        },
    ),
    _text(
        "biomedbert",
        "BiomedBERT",
        {
            "abstract": Scale(BIOMEDBERT, 109_483_778, "mit", revision="d673b8835373c6fa116d6d8006b33d48734e305d"),
            "fulltext": Scale(
                f"{BIOMEDBERT}-fulltext",
                109_483_778,
                "mit",
                revision="e1354b7a3a09615f6aba48dfad4b7a613eef7062",
                pickled=True,
            ),
        },
    ),
)
