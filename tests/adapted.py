"""Tiny models of four families, and the ways in which people train a part of them or all of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, get_peft_model
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

CLASSES, TOKENS, LENGTH = 4, 64, 6

PLACES = {
    "image": SimpleNamespace(
        lora=["q_proj", "v_proj"], ia3=["v_proj", "fc1"], ff=["fc1"], norms=["layernorm_before", "layernorm"],
        head=["classifier"], task="SEQ_CLS", frozen="vit",
    ),
    "text": SimpleNamespace(
        lora=["q_lin", "v_lin"], ia3=["v_lin", "lin1"], ff=["lin1"], norms=["sa_layer_norm"],
        head=["pre_classifier", "classifier"], task="SEQ_CLS", frozen="distilbert",
    ),
    "seq2seq": SimpleNamespace(
        lora=["q", "v"], ia3=["v", "wo"], ff=["wo"], norms=["final_layer_norm"], head=None, task="SEQ_2_SEQ_LM",
        frozen="encoder",
    ),
    "causal": SimpleNamespace(
        lora=["q_proj", "v_proj"], ia3=["v_proj", "down_proj"], ff=["down_proj"], norms=["input_layernorm"],
        head=None, task="CAUSAL_LM", frozen="model",
    ),
}  # fmt: skip
FAMILIES = tuple(PLACES)


def base(family: str, seed: int, dtype: torch.dtype = torch.float32):
    """Return a tiny model, the same for the same seed; wide enough that its rows differ."""
    makers = {
        "image": lambda: ViTForImageClassification(ViTConfig(
            image_size=8, patch_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, num_labels=CLASSES, initializer_range=0.2)),
        "text": lambda: DistilBertForSequenceClassification(DistilBertConfig(
            vocab_size=TOKENS, max_position_embeddings=16, dim=16, n_layers=1, n_heads=2, hidden_dim=16,
            num_labels=CLASSES, initializer_range=0.2)),
        "seq2seq": lambda: T5ForConditionalGeneration(T5Config(
            vocab_size=TOKENS, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0,
            tie_word_embeddings=False)),
        "causal": lambda: LlamaForCausalLM(LlamaConfig(
            vocab_size=TOKENS, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, pad_token_id=0, initializer_range=0.2)),
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return makers[family]().to(dtype)


def rows(family: str, rng: np.random.Generator, count: int) -> list[dict]:
    """Return rows with inputs of their own."""
    if family == "image":
        return [
            {"pixel_values": torch.from_numpy(rng.normal(size=(3, 8, 8)).astype(np.float32)), "labels": int(label)}
            for label in rng.integers(CLASSES, size=count)
        ]
    found = []
    for _ in range(count):
        ids = rng.integers(2, TOKENS, size=LENGTH).tolist()
        row = {"input_ids": ids, "attention_mask": [1] * LENGTH}
        if family == "text":
            row["labels"] = int(rng.integers(CLASSES))
        elif family == "causal":
            row["labels"] = [-100, -100, *ids[2:]]
        else:
            row["labels"] = rng.integers(2, TOKENS, size=4).tolist()
        found.append(row)
    return found


def lora(family: str, **settings):
    """Return a LoRA configuration that fits the family, with dropout as people use it."""
    return LoraConfig(**{"r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": PLACES[family].lora,
                         "modules_to_save": head(family), **settings})  # fmt: skip


def head(family: str) -> list[str] | None:
    """Return the modules to train beside the adapter in a list of its own: `peft` adds names to the one it is given."""
    return PLACES[family].head and list(PLACES[family].head)


def _frozen(model, family):
    getattr(model, PLACES[family].frozen).requires_grad_(False)
    return model


def _added(model, family):
    model.add_adapter(lora(family))
    return model


ADAPTATIONS = {
    "full": lambda model, family: model,
    "lora": lambda model, family: get_peft_model(model, lora(family)),
    "lora_task": lambda model, family: get_peft_model(model, lora(family, task_type=PLACES[family].task)),
    "add_adapter": _added,
    "ia3": lambda model, family: get_peft_model(model, IA3Config(
        target_modules=PLACES[family].ia3, feedforward_modules=PLACES[family].ff,
        modules_to_save=head(family))),
    "frozen": _frozen,
    "norms": lambda model, family: get_peft_model(model, LNTuningConfig(
        target_modules=PLACES[family].norms, modules_to_save=head(family))),
}  # fmt: skip
"""Way of adapting → what makes the model that is trained of a family's base."""


def adapted(family: str, how: str, seed: int, dtype: torch.dtype = torch.float32, start=None):
    """Return a family's model, adapted, the same for the same seed; of ``start``, if that is given."""
    with torch.random.fork_rng():
        model = base(family, seed, dtype) if start is None else start
        torch.manual_seed(seed)
        return ADAPTATIONS[how](model, family)
