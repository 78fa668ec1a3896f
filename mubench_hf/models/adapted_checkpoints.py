"""Checkpoints that hold an adapter alone, read onto the base that they were trained from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.models.adapter_settings import AdapterKind, AdapterSettings
from mubench_hf.models.checked import read_header
from mubench_hf.utils.json_files import read_object

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

KINDS: dict[str, AdapterKind] = {"LORA": "lora", "IA3": "ia3", "LN_TUNING": "layernorm"}

BASE = "base_model_name_or_path"


def holds_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and no model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path) -> str:
    """Return what the adapter in a folder was trained from: a folder, also if both were moved, or a Hub repository.

    Raises:
        BadInput: If it does not say.
    """
    named = read_object(folder / CONFIG).get(BASE)
    if not isinstance(named, str) or not named:
        raise BadInput(f"{folder / CONFIG} does not say which model the adapter is for ({BASE}).")
    beside = folder.parent / Path(named).name
    return str(beside) if not Path(named).is_dir() and beside.is_dir() else named


def with_adapter(base: torch.nn.Module, folder: Path) -> PeftModel:
    """Return ``base`` with the adapter of a folder, which is made anew from the few settings that it may have.

    Nothing else of the folder's configuration is read, so that it can ask for no code, no download and no size that its
    weights do not have.

    Raises:
        BadInput: If the adapter is of another kind, has other settings, or its weights are not those of such an adapter
            on this base.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from mubench_hf.models.adapters import adapter_settings, adapter_state, plain_settings

    if not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder} has a {CONFIG} and no {WEIGHTS}.")
    stated, longest = read_object(folder / CONFIG), read_header(folder / WEIGHTS).longest
    settings = _settings(folder, stated, longest)
    model = settings.add_to(base, seed=0)
    (own,) = adapter_settings(model).values()
    asked = plain_settings(stated)
    differing = [key for key, value in asked.items() if (value != own[key] if key in own else value)]
    if differing:
        raise BadInput(f"{folder / CONFIG} sets {', '.join(sorted(differing))} to what is not read here.")
    saved, needed = load_file(folder / WEIGHTS), adapter_state(model, "default")
    wrong = sorted(saved.keys() ^ needed.keys()) or [
        name for name in sorted(needed) if saved[name].shape != needed[name].shape
    ]
    if wrong:
        raise BadInput(
            f"{folder / WEIGHTS} is not such an adapter of {type(base).__name__}: {len(wrong)} weights differ in name "
            f"or shape, such as {wrong[0]}."
        )
    set_peft_model_state_dict(model, saved)
    return model.eval()


def _settings(folder: Path, stated: dict[str, Any], longest: int) -> AdapterSettings:
    kind = KINDS.get(str(stated.get("peft_type")))
    if kind is None:
        raise BadInput(f"{folder / CONFIG} is of an adapter {stated.get('peft_type')!r}. Allowed: {', '.join(KINDS)}.")
    lists = {f"peft_{name}": stated.get(name) for name in ("target_modules", "feedforward_modules", "modules_to_save")}
    names: dict[str, Any] = {
        flag: ",".join(sorted(map(str, value))) for flag, value in lists.items() if isinstance(value, list) and value
    }
    numbers: dict[str, Any] = {}
    if kind == "lora":
        numbers = {"peft_r": stated.get("r"), "peft_alpha": stated.get("lora_alpha"),
                   "peft_dropout": stated.get("lora_dropout")}  # fmt: skip
        if not all(type(value) in (int, float) for value in numbers.values()) or numbers["peft_r"] != int(
            numbers["peft_r"]
        ):
            raise BadInput(f"{folder / CONFIG} has no rank, scale and dropout that are numbers.")
        if numbers["peft_r"] > longest:
            raise BadInput(f"{folder / CONFIG} names a rank of {numbers['peft_r']}, which its weights do not have.")
    return AdapterSettings(kind, **numbers, **names)
