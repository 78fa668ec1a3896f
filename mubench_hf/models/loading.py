"""Make and load models: fresh ones, incompetent ones, frozen copies, saved ones."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from mubench_hf.errors import BadInput
from mubench_hf.models.adapted_checkpoints import base_of, holds_adapter, with_adapter
from mubench_hf.models.bare import bare_model
from mubench_hf.models.checked import check_built, check_folder
from mubench_hf.models.pretrained import load_pretrained, missing_for_pieces, renamed_image_processor
from mubench_hf.models.registry import ModelSpec
from mubench_hf.models.sharded import whole
from mubench_hf.models.sources import Source, reading, source_of

POSITIONS_AFTER_PADDING = frozenset((
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
))  # fmt: skip
"""Model types that count positions from the one after padding's: it and those before it are no text's."""


def fresh_model(spec: ModelSpec, label_names: Sequence[str], seed: int) -> PreTrainedModel:
    """Return the model that training starts from: the pretrained backbone, or a tiny one, with a new seeded head.

    Args:
        spec: The model.
        label_names: Class names in label order; sets ``num_labels``. Empty for a model that does not classify.
        seed: Seed of every weight that is not loaded. The caller's random state does not change.

    Raises:
        BadInput: If the pretrained backbone cannot be loaded.
    """
    labels = {}
    if label_names:
        labels = {"id2label": dict(enumerate(label_names)), "label2id": {name: i for i, name in enumerate(label_names)}}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if spec.published:
            options = {**spec.published.options, **labels}
            return load_pretrained(named_class(spec.architecture.auto_class), str(spec.reference), **options)
        return random_model(spec, **labels)


def random_model(spec: ModelSpec, **fields: Any) -> PreTrainedModel:
    """Return a model of a registered size with random weights, made from its configuration alone.

    Args:
        spec: The registered model, published or tiny.
        fields: Fields of its configuration to set, such as ``id2label``.
    """
    config = spec.config()
    for name, value in fields.items():
        setattr(config, name, value)
    auto_class = named_class(spec.architecture.auto_class)
    # A class without an auto class is named itself, and made from a config like any model.
    model = auto_class.from_config(config) if hasattr(auto_class, "from_config") else auto_class(config)
    own_head = spec.published and spec.published.config.get("tie_word_embeddings") is False
    head = model.get_output_embeddings() if own_head else None
    if head is not None and head.weight is model.get_input_embeddings().weight:
        # T5's config class ties every head, but v1.1's checkpoints have their own, which loading keeps.
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    return model


def load_processor(spec: ModelSpec, texts: Sequence[str] = ()) -> Any:
    """Return the processor that prepares rows for a registered model.

    Args:
        spec: The registered model.
        texts: Texts of the train set; a tiny model's vocabulary is made from them.
    """
    if spec.published:
        published = spec.published
        return saved_processor(
            published.hub_id,
            published.revision,
            processor_class=spec.architecture.processor_class,
            **published.processor_options,
        )
    return spec.architecture.tiny_processor(texts)


def saved_processor(
    name: str | Path, revision: str | None = None, processor_class: str = "AutoProcessor", **options: Any
) -> Any:
    """Return the processor saved beside a checkpoint, loaded by the auto class of that name.

    Saved again, it makes the same files. A tokenizer's ``model_max_length`` is no more than the model's positions.

    Args:
        name: Folder or Hub id.
        revision: Commit on the Hub.
        processor_class: Name of the auto class.
        options: Fields of the processor to set, whatever its file says.

    Raises:
        BadInput: If there is none, or it needs a package that is not installed.
    """
    with reading(
        f"There is no processor beside the model {str(name)!r} (a tokenizer, image processor or feature extractor, "
        "as its save_pretrained writes it)"
    ):
        source = source_of(name, revision)
        check_folder(source.folder)
        processor = _read_processor(source, processor_class, options)
        # A tokenizer has its own backends, and would keep this name.
        if isinstance(processor, PreTrainedTokenizerBase):
            processor = _saved_tokenizer(source, **options)
        elif isinstance(processor, ProcessorMixin) and hasattr(processor, "tokenizer"):
            processor.tokenizer = _saved_tokenizer(source)
    for where in ("is_local", "local_files_only"):
        getattr(getattr(processor, "tokenizer", processor), "init_kwargs", {}).pop(where, None)
    return processor


def _read_processor(source: Source, processor_class: str, options: Mapping[str, Any]) -> Any:
    try:
        return named_class(processor_class).from_pretrained(source.name, backend="pil", **source.pinned, **options)
    except (OSError, ValueError, TypeError) as error:
        if missing := missing_for_pieces(source.folder):
            raise ValueError(missing) from error
        if (processor := renamed_image_processor(source)) is None:
            raise
        return processor


def _saved_tokenizer(source: Source, **options: Any) -> PreTrainedTokenizerBase:
    """Return a tokenizer that makes no more tokens of a text than the model beside it has positions."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **source.pinned, **options)
    try:
        config = transformers.AutoConfig.from_pretrained(source.name, **source.pinned)
    except (OSError, ValueError):
        return tokenizer  # It is a part of a pipeline, whose model is elsewhere.
    # Some models without a table of positions have none of these or -1.
    if (positions := text_positions(config.get_text_config())) > 0:
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    return tokenizer


def text_positions(config: Any) -> int:
    """Return how many tokens a text model can read by its config; not positive where nothing bounds them."""
    most = getattr(config, "max_position_embeddings", None) or 0
    return most - (config.pad_token_id + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0)


def reinitialised(model: PreTrainedModel, seed: int, init_from: str | None = None) -> PreTrainedModel:
    """Return a model of the same class and config with fresh weights.

    Every weight is new, including class tokens and position embeddings: the model is built from its config, not by
    resetting those layers that can be reset. Only parts that a model declares as never trained are kept.

    Args:
        model: Model whose class and config are used; it is not changed.
        seed: Seed of the weights; the caller's random state does not change.
        init_from: Checkpoint to start from instead of random weights (a new head is drawn where shapes differ): a
            folder, a Hub id or ``org/name@commit``.

    Raises:
        BadInput: If that checkpoint cannot be loaded or lacks weights of the backbone, or the model is no
            ``PreTrainedModel``, which alone is made of its config.
    """
    if not isinstance(bare_model(model), PreTrainedModel):
        raise BadInput(
            f"{type(model).__name__} is a plain module, so how to make one with fresh weights cannot be told, which "
            "this method needs. Make it a PreTrainedModel, or use another method."
        )
    config = copy.deepcopy(model.config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if init_from:
            fresh = load_pretrained(type(model), init_from, config=config)
        else:
            fresh = type(model)(config)
            if hasattr(model, "keep_frozen"):
                model.keep_frozen(fresh)
    return fresh.to(device=model.device, dtype=model.dtype)


def named_class(name: str) -> Any:
    """Return the class called ``name`` in ``transformers``, or ``module:Class`` from elsewhere."""
    if ":" not in name:
        return getattr(transformers, name)
    module, _, found = name.partition(":")
    return getattr(import_module(module), found)


def frozen(model: PreTrainedModel) -> PreTrainedModel:
    """Return ``model`` in eval mode without gradients, for use as a teacher."""
    return model.eval().requires_grad_(False)


def load_model(
    name: str | Path, auto_class: str, revision: str | None = None, *, base_sha256: str | None = None
) -> PreTrainedModel:
    """Load a checkpoint from a folder or a Hub repository: safetensors alone, whole, and no code of others.

    One that holds an adapter alone is loaded with its base, see ``with_adapter``.

    Args:
        name: The folder or repository.
        auto_class: See ``named_class``.
        revision: Branch, tag or commit of the repository; default: the newest.
        base_sha256: For an adapter: the hash of its base's weights, see ``weights_sha256``; any if not given.

    Raises:
        BadInput: If there is no checkpoint there, it asks for code of others, it is not the size of its weights, these
            lack some of its tensors, or an adapter's base has other weights.
    """
    with reading(f"No checkpoint at {str(name)!r}"):
        source, loader = source_of(name, revision), named_class(auto_class)
        if holds_adapter(source.folder):
            return _load_adapted(source.folder, auto_class, base_sha256)
        check_folder(source.folder)
        if hasattr(loader, "from_config"):
            config = transformers.AutoConfig.from_pretrained(source.name, **source.pinned)
            check_built(source.folder, lambda: loader.from_config(config, trust_remote_code=False))
        # What does not fit is told here, in one line, and not by a table of `transformers`.
        model, info = loader.from_pretrained(
            source.name,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **source.pinned,
        )
        _check_whole(name, model, info)
    return model


def _check_whole(name: str | Path, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Check that loading put every tensor of a checkpoint into the model, and none of the model was left as it was.

    Args:
        name: Where the checkpoint is.
        model: The loaded model.
        info: What ``from_pretrained`` says of it; a tensor of another shape is a name with the two shapes.

    Raises:
        BadInput: Naming one of those that do not fit.
    """
    mismatched = info.get("mismatched_keys", ())
    found = {
        "they lack": info["missing_keys"],
        "they have in another shape": (key if isinstance(key, str) else key[0] for key in mismatched),
        "it has no place for": info.get("unexpected_keys", ()),
    }
    names = {what: sorted(map(str, keys)) for what, keys in found.items()}
    wrong = [f"{what} {', '.join(keys[:3])}" for what, keys in names.items() if keys]
    if wrong:
        raise BadInput(
            f"The weights in {name} do not fit the {type(model).__name__} of its config: {'; '.join(wrong)}. Save the "
            "whole model."
        )


def _load_adapted(folder: Path, auto_class: str, base_sha256: str | None) -> PreTrainedModel:
    """Return the model that an adapter in a folder was trained from, with the adapter."""
    base = base_of(folder)
    if holds_adapter(source_of(base).folder):
        raise BadInput(f"{folder} holds an adapter of {base}, which is an adapter itself. Give that one's base.")
    model = load_model(base, auto_class)
    if base_sha256 not in (None, weights_sha256(model)):
        raise BadInput(f"{folder} holds an adapter of {base} with other weights than it has now. Put those back.")
    return with_adapter(model, folder)


def weights_sha256(model: torch.nn.Module, leave_out: Collection[str] = ()) -> str:
    """Return a hash over the names, shapes, types and bytes of all weights and buffers but those that are left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name in leave_out:
            continue
        data = whole(tensor).detach().cpu().contiguous()
        digest.update(f"{name} {tuple(data.shape)} {data.dtype}\n".encode())
        digest.update(data.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
