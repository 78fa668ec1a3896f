"""Imitations of what others published: every registered checkpoint, tiny, in the files of its repository.

The layouts are those that public file trees, cards and other people's code show: formats and names of weights, kinds of
vocabulary, fields of ``preprocessor_config.json``. Sizes are the tiny ones, and all weights are random.
"""

from __future__ import annotations

import functools
import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

TEXTS = [
    f"Person {number} of {town} likes {thing} and writes: 'it was {word}'."
    for number, town in enumerate(("Oslo", "Ulm", "Lima", "Pisa", "Nara"))
    for thing in ("soup", "chess", "a red lamp", "the long film")
    for word in ("good", "bad", "very dull", "fine", "quite odd")
]
MEAN_STD = {
    "half": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    "imagenet": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
}
OLD_NORMS = ((r"LayerNorm\.weight$", "LayerNorm.gamma"), (r"LayerNorm\.bias$", "LayerNorm.beta"))
WEIGHT_NORM = (
    (r"parametrizations\.weight\.original0$", "weight_g"),
    (r"parametrizations\.weight\.original1$", "weight_v"),
)


# Vocabularies ---------------------------------------------------------------------------------------------------------


def word_pieces(**config: Any) -> dict[str, bytes]:
    """Return BERT's files: one token a line, every character as a start and as a continuation."""
    letters = sorted({letter for text in TEXTS for letter in text + text.lower() if letter != " "})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return {"vocab.txt": "\n".join(tokens).encode(), "tokenizer_config.json": as_json(config)}


def byte_pairs(specials: list[str], **config: Any) -> dict[str, bytes]:
    """Return GPT-2's files: every byte is a token, and no two are merged."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*specials, *sorted(ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {
        "vocab.json": as_json(vocabulary),
        "merges.txt": b"#version: 0.2\n",
        "tokenizer_config.json": as_json(config),
    }


@functools.cache
def sentence_pieces(**pieces: Any) -> bytes:
    """Return a SentencePiece model of ``TEXTS``; ``pieces`` places its special tokens."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        vocab_size=400,
        hard_vocab_limit=False,
        minloglevel=2,
        **pieces,
    )
    return model.getvalue()


def t5_pieces() -> dict[str, bytes]:
    extra = [f"<extra_id_{number}>" for number in range(100)]
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "additional_special_tokens": extra}
    return {
        "spiece.model": sentence_pieces(pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        "special_tokens_map.json": as_json(names),
        "tokenizer_config.json": as_json({**names, "extra_ids": 100}),
    }


def deberta_pieces() -> dict[str, bytes]:
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    return {
        "spm.model": sentence_pieces(pad_id=0, bos_id=1, eos_id=2, unk_id=3, **names),
        "tokenizer_config.json": as_json({"do_lower_case": False, "vocab_type": "spm"}),
    }


def albert_pieces() -> dict[str, bytes]:
    names = {"pad_piece": "<pad>", "unk_piece": "<unk>", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    return {"spiece.model": sentence_pieces(pad_id=0, unk_id=1, bos_id=2, eos_id=3, **names)}


@functools.cache
def llama_json() -> bytes:
    """Return the ``tokenizer.json`` that was converted from the pieces, as these repositories have both."""
    files = {"tokenizer.model": llama_model(), "tokenizer_config.json": as_json({"tokenizer_class": "LlamaTokenizer"})}
    with tempfile.TemporaryDirectory() as folder:
        write(files, Path(folder))
        transformers.LlamaTokenizer.from_pretrained(folder).save_pretrained(folder)
        return Path(folder, "tokenizer.json").read_bytes()


def llama_model() -> bytes:
    return sentence_pieces(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, byte_fallback=True)


def llama_pieces(**config: Any) -> dict[str, bytes]:
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    return {
        "tokenizer.model": llama_model(),
        "tokenizer.json": llama_json(),
        "tokenizer_config.json": as_json({**names, "add_bos_token": True, **config}),
    }


# Processors -----------------------------------------------------------------------------------------------------------


def preprocessor(**fields: Any) -> dict[str, bytes]:
    return {"preprocessor_config.json": as_json(fields)}


def images(size: int, colours: str = "half", **fields: Any) -> dict[str, bytes]:
    """Return an image processor's file as older versions wrote it, with one number as its size."""
    return preprocessor(do_normalize=True, do_resize=True, size=size, **MEAN_STD[colours], **fields)


def sounds() -> dict[str, bytes]:
    return preprocessor(
        do_normalize=True,
        feature_extractor_type="Wav2Vec2FeatureExtractor",
        feature_size=1,
        padding_side="right",
        padding_value=0,
        return_attention_mask=False,
        sampling_rate=16_000,
    )


# Layouts --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """What a published repository holds.

    Attributes:
        saved_as: Class whose weights were published.
        files: Makes the files of tokenizer and processor.
        config: Fields in which the imitation's configuration differs from the tiny one.
        old_names: Regular expression → what an older version called such a weight.
    """

    saved_as: str
    files: Callable[[], dict[str, bytes]]
    config: Mapping[str, Any] = field(default_factory=dict)
    old_names: tuple[tuple[str, str], ...] = ()


def convnext_images(size: int) -> Callable[[], dict[str, bytes]]:
    kind = {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "resample": 3}
    return functools.partial(images, size, "imagenet", **kind)


BERT = functools.partial(word_pieces, do_lower_case=True)
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CODEBOOK = {"num_codevectors_per_group": 4, "num_codevector_groups": 2, "codevector_dim": 8, "proj_codevector_dim": 8}
ZEPHYR = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

LAYOUTS = {
    "resnet": Layout("ResNetForImageClassification", convnext_images(32)),
    "vit": Layout("ViTModel", functools.partial(images, 16, image_processor_type="ViTFeatureExtractor")),
    "swin": Layout(
        "SwinForImageClassification",
        functools.partial(images, 16, "imagenet", feature_extractor_type="ViTFeatureExtractor", resample=3),
    ),
    "convnext": Layout("ConvNextForImageClassification", convnext_images(32)),
    "mobilenet-v1": Layout(
        "MobileNetV1ForImageClassification",
        functools.partial(
            preprocessor,
            crop_size={"height": 64, "width": 64},
            do_center_crop=True,
            image_processor_type="MobileNetV1ImageProcessor",
            size={"shortest_edge": 70},
            **MEAN_STD["half"],
        ),
        # The checkpoint's file has had the share that is kept.
        {"classifier_dropout_prob": 0.999},
    ),
    "mobilenet-v2": Layout(
        "MobileNetV2ForImageClassification",
        functools.partial(
            preprocessor,
            crop_size={"height": 64, "width": 64},
            do_center_crop=True,
            image_processor_type="MobileNetV2ImageProcessor",
            size={"shortest_edge": 70},
            **MEAN_STD["half"],
        ),
        {"classifier_dropout_prob": 0.8},
    ),
    "bert": Layout("BertForPreTraining", BERT, old_names=OLD_NORMS),
    "roberta": Layout(
        "RobertaForMaskedLM",
        functools.partial(byte_pairs, ROBERTA_TOKENS),
        {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 130},
    ),
    "distilbert": Layout("DistilBertForMaskedLM", BERT),
    "electra": Layout("ElectraForPreTraining", BERT),
    "deberta-v3": Layout("DebertaV2ForMaskedLM", deberta_pieces),
    "albert": Layout("AlbertForMaskedLM", albert_pieces),
    "biobert": Layout("BertModel", functools.partial(word_pieces, do_lower_case=False), old_names=OLD_NORMS),
    "biomedbert": Layout("BertForMaskedLM", BERT),
    "vilt": Layout(
        "ViltForImagesAndTextClassification",
        lambda: {**BERT(), **images(32, size_divisor=8, feature_extractor_type="ViltFeatureExtractor")},
    ),
    "wav2vec2": Layout("Wav2Vec2ForPreTraining", sounds, CODEBOOK, WEIGHT_NORM),
    "hubert": Layout("HubertModel", sounds, old_names=WEIGHT_NORM),
    "whisper": Layout(
        "WhisperForConditionalGeneration",
        functools.partial(
            preprocessor,
            chunk_length=1,
            feature_extractor_type="WhisperFeatureExtractor",
            feature_size=80,
            hop_length=160,
            n_fft=400,
            n_samples=16_000,
            nb_max_frames=100,
            padding_side="right",
            padding_value=0.0,
            processor_class="WhisperProcessor",
            return_attention_mask=False,
            sampling_rate=16_000,
        ),
        {
            "decoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 32,
            "vocab_size": 300,
            "pad_token_id": 0,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "decoder_start_token_id": 1,
            "begin_suppress_tokens": None,
            "suppress_tokens": None,
        },
    ),  # fmt: skip
    "videomae": Layout(
        "VideoMAEForPreTraining",
        functools.partial(
            images,
            24,
            "imagenet",
            crop_size={"height": 24, "width": 24},
            do_center_crop=True,
            feature_extractor_type="VideoMAEFeatureExtractor",
        ),
        {
            "decoder_num_hidden_layers": 1,
            "decoder_hidden_size": 16,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 16,
        },
    ),  # fmt: skip
    "t5-v1.1": Layout("T5ForConditionalGeneration", t5_pieces, {"tie_word_embeddings": False}),
    "llama-2": Layout(
        "LlamaForCausalLM", llama_pieces, {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
    ),
    "phi": Layout(
        "PhiForCausalLM",
        functools.partial(byte_pairs, ["<|endoftext|>"], tokenizer_class="CodeGenTokenizer"),
        {"bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": False},
    ),
    "zephyr": Layout(
        "MistralForCausalLM",
        functools.partial(llama_pieces, pad_token="</s>", chat_template=ZEPHYR),
        {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": False},
    ),
}
"""Architecture → layout; ``stable-diffusion`` is a pipeline, made by ``pipeline_files``."""


HEADS = ("classifier.", "projector.", "pre_classifier.", "pooler.", "fc_norm.")
"""What is new in a model with a task's head."""


def counterpart(name, weights):
    """The weight of another class of the architecture: in one of the two, names begin with the backbone's."""
    found = [other for other in weights if other == name or other.endswith(f".{name}") or name.endswith(f".{other}")]
    return weights[min(found, key=len)] if found else None


def imitation(spec: Any, seed: int, *, pickled: bool | None = None) -> tuple[dict[str, bytes], Any]:
    """Return the files of a tiny checkpoint in a published model's layout, and the model that they hold.

    Args:
        spec: The published model.
        seed: Of its weights.
        pickled: Whether its weights are a ``.bin`` file; default: as published.
    """
    layout = LAYOUTS[spec.architecture.name]
    config = spec.architecture.tiny_config()
    for name, value in layout.config.items():
        setattr(config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, layout.saved_as)(config)
        if config.model_type == "t5":
            # Version 1.1 has a head of its own, though the class ties every T5.
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    files = {"config.json": as_json({**config.to_dict(), "architectures": [layout.saved_as]}), **layout.files()}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        weights = safetensors_of(Path(folder))
    for pattern, old in layout.old_names:
        weights = {re.sub(pattern, old, name): tensor for name, tensor in weights.items()}
    return {**files, **weight_files(weights, spec.published.pickled if pickled is None else pickled)}, model.eval()


def safetensors_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def weight_files(weights: Mapping[str, torch.Tensor], pickled: bool) -> dict[str, bytes]:
    if pickled:
        stream = io.BytesIO()
        torch.save(dict(weights), stream)
        return {"pytorch_model.bin": stream.getvalue()}
    from safetensors.torch import save

    return {"model.safetensors": save(dict(weights), metadata={"format": "pt"})}


def as_json(content: Any) -> bytes:
    return json.dumps(content, default=str).encode()


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
