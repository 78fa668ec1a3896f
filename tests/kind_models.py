"""Tiny models of kinds that no task of the benchmark has, and rows for them."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Speech2TextConfig,
    Speech2TextForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

TOKENS, IMAGE = 20, 19
BERT = {
    "vocab_size": TOKENS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
LLAMA = {
    "vocab_size": TOKENS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.4,
}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


def texts(rng, rows, length=6):
    """Return texts of one length, as columns."""
    return [
        {"input_ids": rng.integers(3, TOKENS - 1, length), "attention_mask": np.ones(length, int)} for _ in range(rows)
    ]


def labelled(rng, rows, labels, make=texts):
    """Return rows as lists, with a label of its own each."""
    made = make(rng, rows)
    return [
        {**{name: value.tolist() for name, value in row.items()}, "labels": label}
        for row, label in zip(made, labels, strict=True)
    ]


def pixels(rng, rows):
    """Return images, as columns."""
    return [{"pixel_values": rng.normal(size=(3, 8, 8)).astype("f4")} for _ in range(rows)]


def multi_label(rng, rows):
    model = BertForSequenceClassification(BertConfig(**BERT, num_labels=3, problem_type="multi_label_classification"))
    return model, labelled(rng, rows, rng.integers(0, 2, (rows, 3)).astype(float).tolist())


def multi_label_of_images(rng, rows):
    sizes = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ViTForImageClassification(ViTConfig(**sizes, intermediate_size=16, num_labels=4))
    return model, labelled(rng, rows, rng.integers(0, 2, (rows, 4)).astype(float).tolist(), pixels)


def regression(rng, rows):
    model = BertForSequenceClassification(BertConfig(**BERT, num_labels=1))
    return model, labelled(rng, rows, rng.normal(size=rows).tolist())


def regression_of_three(rng, rows):
    model = BertForSequenceClassification(BertConfig(**BERT, num_labels=3, problem_type="regression"))
    return model, labelled(rng, rows, rng.normal(size=(rows, 3)).tolist())


def token_classification(rng, rows):
    labels = rng.integers(0, 4, (rows, 6))
    labels[:, [0, -1]] = -100
    labels[rng.random((rows, 6)) < 0.2] = -100
    labels[:, 2] = rng.integers(0, 4, rows)
    return BertForTokenClassification(BertConfig(**BERT, num_labels=4)), labelled(rng, rows, labels.tolist())


def image_text_to_text(rng, rows):
    """LLaVA: four places of an image, three tokens of a question, then the answer."""
    vision = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision, intermediate_size=16, projection_dim=16),
        text_config=LlamaConfig(**LLAMA),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=4,
    )
    made = []
    for image in pixels(rng, rows):
        answer = rng.integers(3, IMAGE, 3).tolist()
        prompt = [IMAGE] * 4 + rng.integers(3, IMAGE, 3).tolist()
        made.append({**image, "input_ids": prompt + answer, "attention_mask": [1] * 10, "labels": [-100] * 7 + answer})
    return LlavaForConditionalGeneration(config), made


def whisper(rng, rows):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    config = WhisperConfig(
        **sizes, **ENDS, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=TOKENS,
        num_mel_bins=4, max_source_positions=8, max_target_positions=16, init_std=0.4, dropout=0.0,
        suppress_tokens=[], begin_suppress_tokens=[],
    )  # fmt: skip
    return WhisperForConditionalGeneration(config), _recordings(rng, rows, (4, 16))


def speech2text(rng, rows):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    config = Speech2TextConfig(
        **sizes, **ENDS, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=TOKENS,
        input_feat_per_channel=4, max_source_positions=64, max_target_positions=16, init_std=0.4, dropout=0.0,
        num_conv_layers=1, conv_kernel_sizes=[3], conv_channels=16,
    )  # fmt: skip
    return Speech2TextForConditionalGeneration(config), _recordings(rng, rows, (16, 4))


def _recordings(rng, rows, shape):
    labels = rng.integers(3, TOKENS, (rows, 5))
    labels[rng.random(rows) < 0.5, -1] = -100
    return [{"input_features": rng.normal(size=shape).astype("f4"), "labels": label.tolist()} for label in labels]


MAKERS = {
    "multi_label": [multi_label, multi_label_of_images],
    "regression": [regression, regression_of_three],
    "token_classification": [token_classification],
    "image_text_to_text": [image_text_to_text],
    "speech_to_text": [whisper, speech2text],
}
"""Kind → functions of a random source and a number of rows that return a model and rows."""


def seeded(make, rng, rows):
    """Return a model, whose weights are drawn by ``rng``, and rows."""
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**31)))
        return make(rng, rows)
