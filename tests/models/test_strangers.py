"""What a saved model may ask for: nothing of others, no sizes that its weights lack; and none of these is missing."""

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.models.loading import load_model
from mubench_hf.models.pretrained import load_pretrained

CAUSAL = "AutoModelForCausalLM"


@pytest.fixture
def folder(tmp_path):
    """A small language model."""
    config = LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=40
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


def change(folder, **fields):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_hidden_layers": 20_000}, "num_hidden_layers = 20000; by its weights"),
        ({"hidden_size": 10**9}, "hidden_size = 1000000000; no model is that large"),
        ({"vocab_size": 10**7}, "by its configuration the model has"),
        ({"text_config": {"vocab_size": 10**12}}, "vocab_size = 1000000000000"),
        ({"num_labels": 10**6}, "num_labels = 1000000"),
        ({"attn_implementation": "kernels-community/flash-attn"}, "asks for the attention 'kernels-community"),
        ({"_attn_implementation": "someone/else"}, "asks for the attention 'someone/else'"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised weights are not read"),
        ({"transformers_weights": "pytorch_model.bin"}, "weights are read from the files of the usual names alone"),
        ({"dtype": "nonsense"}, "No checkpoint at"),
        ({"model_type": "nonsense"}, "No checkpoint at"),
        ({"num_attention_heads": 0}, "No checkpoint at"),
    ],
)
def test_what_no_model_may_ask_for(folder, fields, said):
    change(folder, **fields)
    with pytest.raises(BadInput) as error:
        load_model(folder, CAUSAL)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_code_beside_a_model_is_never_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("it asks"))
    (folder / "mine.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'marker')!r}).touch()")
    code = {"AutoConfig": "mine.C", CAUSAL: "mine.M", "AutoTokenizer": ["mine.T", "mine.T"]}
    change(folder, auto_map=code)
    load_model(folder, CAUSAL)  # The library knows this model itself.
    change(folder, model_type="mine")
    with pytest.raises(BadInput, match="No checkpoint at"):
        load_model(folder, CAUSAL)
    assert not (tmp_path / "marker").exists()


def test_weights_that_lack_a_tensor_are_not_drawn(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match="lack.* model.norm.weight"):
        load_model(folder, CAUSAL)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"model.norm.weight": 1}),
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 40_000) + b"[" * 20_000 + b"]" * 20_000,
        struct.pack("<Q", 58) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,99999]}}',
        b"",
    ],
)
def test_weights_that_are_something_else(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="is not in the safetensors format"):
        load_model(folder, CAUSAL)


def test_an_adapter_beside_a_model_and_one_in_its_place(folder):
    config = {"peft_type": "LORA", "base_model_name_or_path": str(folder), "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="holds a model and, in adapter_config.json, an adapter"):
        load_model(folder, CAUSAL)
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match="has no config.json, so it is no whole model"):
        load_pretrained(LlamaForCausalLM, str(folder))


def test_a_base_with_another_head_and_long_positions_is_read(tmp_path):
    """What is usual is not refused: a head of other classes, positions that no weight counts."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, num_labels=3, **sizes)).save_pretrained(tmp_path)
    from transformers import AutoModelForImageClassification

    names = {number: str(number) for number in range(700)}
    model = load_pretrained(AutoModelForImageClassification, str(tmp_path), id2label=names)
    assert model.config.num_labels == 700
    config = LlamaConfig(**sizes, vocab_size=40, max_position_embeddings=10_485_760, rope_theta=5 * 10**7)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "long")
    assert torch.isfinite(load_model(tmp_path / "long", CAUSAL)(torch.tensor([[1, 2]])).logits).all()
