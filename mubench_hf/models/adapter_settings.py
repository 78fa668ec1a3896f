"""What adapter to add to an original before it unlearns, as the command line names it, and how it is added."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

AdapterKind = Literal["lora", "ia3", "layernorm"]

ONLY_FOR = {
    "peft_r": ("lora",),
    "peft_alpha": ("lora",),
    "peft_dropout": ("lora",),
    "peft_feedforward_modules": ("ia3",),
}
"""Setting → the kinds of adapters that have it."""


@dataclass
class AdapterSettings:
    """Which adapter of ``peft`` is trained in place of the original's own weights; by default none.

    Attributes:
        peft: Kind of adapter.
        peft_r: Rank of LoRA's matrices.
        peft_alpha: LoRA's scale times its rank.
        peft_dropout: Dropout before LoRA's matrices, in [0, 1).
        peft_target_modules: Names of the layers to adapt, separated by commas.
        peft_feedforward_modules: Those of IA3's layers whose inputs it scales, not their outputs.
        peft_modules_to_save: Names of modules that are trained whole beside the adapter, such as a classifier.
    """

    peft: AdapterKind | None = field(
        default=None,
        metadata={"help": "Train an adapter and leave the original's weights as they are: lora, ia3 or layernorm."},
    )
    peft_r: int | None = field(default=None, metadata={"help": "Rank of LoRA's matrices; default: 8."})
    peft_alpha: float | None = field(default=None, metadata={"help": "LoRA's scale times its rank; default: the rank."})
    peft_dropout: float | None = field(
        default=None, metadata={"help": "Dropout before LoRA's matrices, in [0, 1); default: 0."}
    )
    peft_target_modules: str | None = field(
        default=None,
        metadata={
            "help": "Layers to adapt, by the end of their names: q_proj,v_proj; default: as peft knows the model."
        },
    )
    peft_feedforward_modules: str | None = field(
        default=None, metadata={"help": "Those of IA3's layers whose inputs are scaled; default: as peft knows them."}
    )
    peft_modules_to_save: str | None = field(
        default=None, metadata={"help": "Modules to train whole beside the adapter, such as classifier; default: none."}
    )

    def __post_init__(self) -> None:
        """Check that the settings fit together.

        Raises:
            BadInput: If one is out of its range, or is none of this kind of adapter's.
        """
        given = [each.name for each in fields(AdapterSettings)[1:] if getattr(self, each.name) is not None]
        if self.peft is None and given:
            raise BadInput(f"--{given[0]} is a setting of an adapter. Say which kind: --peft lora.")
        if self.peft is not None and self.peft not in get_args(AdapterKind):
            raise BadInput(f"--peft is {self.peft!r}. Allowed: {', '.join(get_args(AdapterKind))}.")
        for name in given:
            if self.peft not in ONLY_FOR.get(name, (self.peft,)):
                raise BadInput(f"--{name} is for {', '.join(ONLY_FOR[name])}, not for {self.peft}. Leave it out.")
        if self.peft_r is not None and self.peft_r < 1:
            raise BadInput(f"--peft_r is {self.peft_r}; a rank is at least 1.")
        if self.peft_alpha is not None and not (math.isfinite(self.peft_alpha) and self.peft_alpha > 0):
            raise BadInput(f"--peft_alpha is {self.peft_alpha}; a scale is above 0 and finite.")
        if self.peft_dropout is not None and not 0 <= self.peft_dropout < 1:
            raise BadInput(f"--peft_dropout is {self.peft_dropout}; it is at least 0 and below 1.")
        for name in ("peft_target_modules", "peft_feedforward_modules", "peft_modules_to_save"):
            text = getattr(self, name)
            if text is not None and not all(part.strip() for part in text.split(",")):
                raise BadInput(f"--{name} is {text!r}; give names of modules, separated by commas.")

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings of a run's record; none without an adapter."""
        if self.peft is None:
            return {}
        rank = self.peft_r or 8
        lora = {"peft_r": rank, "peft_alpha": self.peft_alpha or float(rank), "peft_dropout": self.peft_dropout or 0.0}
        names = {
            name: ",".join(sorted(_names(getattr(self, name)) or ()))
            for name in ("peft_target_modules", "peft_feedforward_modules", "peft_modules_to_save")
            if getattr(self, name)
        }
        return {"peft": self.peft, **(lora if self.peft == "lora" else {}), **names}

    def config(self) -> PeftConfig:
        """Return the configuration that ``peft`` takes."""
        from peft import IA3Config, LNTuningConfig, LoraConfig

        targets, whole = _names(self.peft_target_modules), _names(self.peft_modules_to_save)
        if self.peft == "ia3":
            ff = _names(self.peft_feedforward_modules)
            # `peft` asks for them wherever targets are named.
            ff = ff if ff is not None or targets is None else []
            return IA3Config(target_modules=targets, feedforward_modules=ff, modules_to_save=whole)
        if self.peft == "layernorm":
            return LNTuningConfig(target_modules=targets, modules_to_save=whole)
        settings = self.recorded
        return LoraConfig(
            r=settings["peft_r"],
            lora_alpha=settings["peft_alpha"],
            lora_dropout=settings["peft_dropout"],
            target_modules=targets,
            modules_to_save=whole,
        )

    def add_to(self, model: torch.nn.Module, seed: int) -> PeftModel:
        """Return ``model`` with a fresh adapter, whose start depends on ``seed`` alone.

        Raises:
            BadInput: If a named module is not in the model, or ``peft`` does not know which layers to adapt.
        """
        import torch
        from peft import get_peft_model

        from mubench_hf.models.precision import has_short_weights, in_float32

        modules = [name for name, _ in model.named_modules()]
        for flag in ("peft_target_modules", "peft_feedforward_modules", "peft_modules_to_save"):
            for name in _names(getattr(self, flag)) or ():
                if not any(module == name or module.endswith(f".{name}") for module in modules):
                    raise BadInput(
                        f"--{flag} names {name}, which {type(model).__name__} does not have. {_known(model)}"
                    )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = self.config()
            if self.peft == "layernorm" and config.target_modules is None:
                config.target_modules = _norms(model)
            try:
                adapted = get_peft_model(model, config)
            except (
                ValueError,
                TypeError,
                AttributeError,
            ) as error:  # The last, if a layer and one inside it are named.
                raise BadInput(
                    f"An adapter of the kind {self.peft} cannot be added to {type(model).__name__}: "
                    f"{str(error).splitlines()[0]}. Name its layers: --peft_target_modules NAME,NAME. {_known(model)}"
                ) from error
        # `peft` makes its matrices float32 over a base in 16 bits as well. Modules that are trained whole are copies of
        # the base's, in its type, and in float32 would not take what its other layers give them: then all is float32.
        return in_float32(adapted) if has_short_weights(adapted, trained=True) else adapted


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _norms(model: torch.nn.Module) -> list[str]:
    """Return the layers that normalise over a row's own features, by their whole names; `peft` knows few models'."""
    kinds = ("LayerNorm", "RMSNorm")
    return [
        name
        for name, module in model.named_modules()
        if type(module).__name__.endswith(kinds) and not [*module.children()] and [*module.parameters()]
    ]


def _known(model: torch.nn.Module) -> str:
    import torch

    kinds = (torch.nn.Linear, torch.nn.LayerNorm)
    ends = {
        name.rpartition(".")[2]: None
        for name, module in model.named_modules()
        if isinstance(module, kinds) or type(module).__name__.endswith("Norm")
    }
    return f"It has, for example: {', '.join(list(ends)[:12])}."
