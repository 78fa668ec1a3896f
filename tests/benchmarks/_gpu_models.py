"""The models of the GPU benchmark, with random weights and rows made in memory, so that nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import default_data_collator

from mubench_hf.models import get_model

CLASSES = 100
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

LLAMA_7B = {"vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32}  # fmt: skip
LLAMA_TINY = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One model and the shape of its rows.

    Attributes:
        title: What tables call it.
        task: Key of a task of its kind.
        model: Key of the registered model at full size.
        tiny: Key of the one that runs without a GPU.
        rows: Rows of a micro-batch.
        inputs: Called with whether the model is tiny and a generator, makes the inputs of one row.
        target: Number of label tokens, or ``None`` for a class.
    """

    title: str
    task: str
    model: str
    tiny: str
    rows: int
    inputs: Callable[[bool, torch.Generator], dict[str, Tensor]]
    target: int | None = None

    def name(self, tiny: bool) -> str:
        """Return what a table calls the model."""
        return self.tiny if tiny else self.title


def _image(tiny: bool, rng: torch.Generator) -> dict[str, Tensor]:
    side = 16 if tiny else 224
    return {"pixel_values": torch.randn(3, side, side, generator=rng, device=rng.device)}


def _text(length: int) -> Callable[[bool, torch.Generator], dict[str, Tensor]]:
    def inputs(tiny: bool, rng: torch.Generator) -> dict[str, Tensor]:
        tokens = 16 if tiny else length
        # Low numbers are special tokens of some models.
        return {
            "input_ids": torch.randint(5, 60 if tiny else 20_000, (tokens,), generator=rng, device=rng.device).cpu(),
            "attention_mask": torch.ones(tokens, dtype=torch.long),
        }

    return inputs


def _sound(tiny: bool, rng: torch.Generator) -> dict[str, Tensor]:
    return {"input_values": torch.randn(4000 if tiny else 16_000, generator=rng, device=rng.device)}


def _video(tiny: bool, rng: torch.Generator) -> dict[str, Tensor]:
    frames, side = (16, 24) if tiny else (16, 224)
    return {"pixel_values": torch.randn(frames, 3, side, side, generator=rng, device=rng.device)}


CASES: Mapping[str, Case] = {
    "vit": Case("ViT-base, 224 px", "cifar100", "vit-base", "vit-tiny", 128, _image),
    "bert": Case("BERT-base, 128 tokens", "imdb", "bert-base", "bert-tiny", 128, _text(128)),
    "t5": Case("T5 v1.1 base, 512 + 64 tokens", "samsum", "t5-v1.1-base", "t5-v1.1-tiny", 16, _text(512), target=64),
    "wav2vec2": Case("wav2vec2-base, 1 s", "speech_commands", "wav2vec2-base", "wav2vec2-tiny", 64, _sound),
    "videomae": Case("VideoMAE-base, 16 frames of 224 px", "ucf101", "videomae-base", "videomae-tiny", 16, _video),
}


def build(case: Case, *, tiny: bool, device: torch.device) -> torch.nn.Module:
    """Return the model with random weights in float32, the same each time."""
    from mubench_hf.models.loading import random_model

    spec = get_model(case.tiny if tiny else case.model)
    classes = {} if case.target else {"id2label": {number: str(number) for number in range(CLASSES)}}
    torch.manual_seed(0)
    with torch.device(device):
        return random_model(spec, **classes)


def llama(*, tiny: bool, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """Return a Llama of 6.7 B weights, or a tiny one, in a type, the same each time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**LLAMA_TINY if tiny else LLAMA_7B, use_cache=False, pad_token_id=0))
    finally:
        torch.set_default_dtype(torch.float32)


def planned(
    task: str, model_key: str, model: torch.nn.Module, batch: Mapping[str, Tensor], method: str, **settings: Any
) -> float:
    """Return the peak that ``mubench plan`` gives for a micro-batch on a model that is on ``meta``, in GiB."""
    from pathlib import Path

    from mubench_hf.models.adapter_settings import AdapterSettings
    from mubench_hf.runs.memory import Request, memory_with
    from mubench_hf.runs.setup import Setup
    from mubench_hf.tasks import get_task
    from mubench_hf.trainers import get_method

    chosen = get_method(method)
    rows = len(batch["labels"])
    args = chosen.config_class("planned", per_device_train_batch_size=rows, use_cpu=True, bf16=True, **settings)
    setup = Setup(get_task(task), "full", get_model(model_key), 5, Path())
    frozen = any(not weight.requires_grad for weight in model.parameters())
    asked = Request(setup, chosen, args, AdapterSettings(), "bfloat16" if frozen else "float32")
    shapes = {name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in batch.items()}
    return round(memory_with(model, shapes, asked).peak / 2**30, 3)


class Rows(list):
    """Rows in memory, and what makes a batch of them.

    Large inputs lie on the device already and a row has only their number, so that nothing but the model is timed;
    tokens and labels are in the row, where methods look for them.
    """

    def __init__(self, rows: list[dict[str, Any]], device: torch.device):
        large = [name for name in rows[0] if rows[0][name].is_floating_point()]
        self.kept = {name: torch.stack([row[name] for row in rows]).to(device) for name in large}
        small = [{name: value for name, value in row.items() if name not in large} for row in rows]
        if large:
            small = [{**row, "number": number} for number, row in enumerate(small)]
        super().__init__({**row, "labels": row["labels"].tolist()} for row in small)

    @property
    def nbytes(self) -> int:
        """Bytes that lie on the device."""
        return sum(values.nbytes for values in self.kept.values())

    @property
    def sets(self) -> tuple[list[Any], list[Any]]:
        """The first quarter of the rows, to be forgotten, and the others."""
        return self[: len(self) // 4], self[len(self) // 4 :]

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return a batch; large inputs are taken from where they are."""
        batch = default_data_collator(rows)
        if "number" in batch:
            places = batch.pop("number")
            batch |= {name: values[places.to(values.device)] for name, values in self.kept.items()}
        return batch


def rows_of(case: Case, count: int, *, tiny: bool, device: torch.device) -> Rows:
    """Return ``count`` random rows of a case."""
    rng = torch.Generator(device).manual_seed(1)
    rows = []
    for number in range(count):
        row = case.inputs(tiny, rng)
        row["labels"] = torch.tensor(number % CLASSES)
        if case.target:
            size, most = (8, 60) if tiny else (case.target, 20_000)
            row["labels"] = torch.randint(5, most, (size,), generator=rng, device=device).cpu()
        rows.append(row)
    return Rows(rows, device)


def texts(count: int, length: int, tokens: int, device: torch.device) -> Rows:
    """Return random texts for a causal language model, whose second half is to be predicted."""
    rng = torch.Generator().manual_seed(2)
    rows = []
    for _ in range(count):
        ids = torch.randint(1, tokens, (length,), generator=rng)
        labels = torch.where(torch.arange(length) < length // 2, -100, ids)
        rows.append({"input_ids": ids, "attention_mask": torch.ones(length, dtype=torch.long), "labels": labels})
    return Rows(rows, device)
