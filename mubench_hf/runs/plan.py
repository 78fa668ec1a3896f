"""Plans a run before it is made: its name, its settings, and what in them differs from the preset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.foreign import is_foreign, weights_digest
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.record import ORIGINAL, RunId, load_record, tag_of
from mubench_hf.runs.setup import Setup
from mubench_hf.runs.updates import of_one_process
from mubench_hf.trainers import METHODS, get_method
from mubench_hf.trainers._identity import changed_arguments, plain, selects

if TYPE_CHECKING:
    from mubench_hf.trainers import UnlearningConfig, UnlearningTrainer

LARGEST_SEED = 2**32 - 1
"""NumPy takes no larger one."""

SELECTION_SPLIT = "validation"
"""Rows that may choose a run's weights; what is measured on the test rows that did would be no measurement."""

RECIPE = "recipe.json"
"""File beside an original's weights with the settings that made it, which ``retrain`` replays."""


@dataclass(frozen=True)
class Plan:
    """One run that is to be made.

    Attributes:
        setup: What it shares with the others of its table.
        run: Its name.
        trainer: Its method; an original is a ``retrain`` over all rows.
        args: Its settings in each process; ``output_dir`` is its folder.
        settings: What differs from the preset, in its settings or in what it starts from.
        external: Parts that do not belong to this package, see ``RunRecord``.
        start: Checkpoint that it starts from, a folder or a Hub id; ``None`` for random weights.
        base_model: Name of that checkpoint for the record.
        adapter: What is trained in place of the weights of ``start``.
        usual: Its settings before any flags.
    """

    setup: Setup
    run: RunId
    trainer: type[UnlearningTrainer]
    args: UnlearningConfig
    settings: dict[str, Any]
    external: dict[str, dict[str, str]]
    start: str | None
    base_model: str | None
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    usual: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of the checkpoint."""
        return Path(self.args.output_dir)

    @property
    def recorded(self) -> dict[str, Any]:
        """Its settings as it records them: of one process, and without the paths of folders on this machine."""
        changed = changed_arguments(of_one_process(self.args, self.usual))
        if is_foreign(self.setup.model) and changed.get("init_from") == self.setup.model.hub_id:
            changed["init_from"] = self.setup.model.architecture.title
        return changed


def find_original(setup: Setup, seed: int, base: str | Path | None = None) -> str:
    """Return the original that a run starts from: ``base`` if given, the seed's under ``setup.out``, or the Hub's.

    Raises:
        BadInput: If ``base`` is not an original or not finished, a file of it was changed, or no original is found in
            any of these places.
    """
    name = setup.original(seed).name
    folder = Path(base) if base else setup.checkpoint(name)
    record = load_record(folder) if folder.is_dir() else None
    if record and record.run.method != ORIGINAL:
        raise BadInput(f"{folder} was made by {record.run.method}; unlearning starts from an original.")
    if record and not record.finished:
        raise BadInput(f"The training of {folder} was interrupted. Run the same `mubench train` again to finish it.")
    if record:
        check_files(folder, record)
    if folder.is_dir():
        return str(folder)
    if not base and (setup.variant == "mini" or setup.external):
        mini = " --mini" if setup.variant == "mini" else ""
        named = setup.model.hub_id if is_foreign(setup.model) else setup.model.name
        flags = f"--task {setup.task.name}{mini} --model {named} --seed {seed} --out {setup.out}"
        others = sorted(str(other) for other in folder.parent.glob(f"{setup.original(seed).table_name}-{ORIGINAL}-s*"))
        instead = f". Or give one that is there as --base: {', '.join(others)}" if others else ""
        raise BadInput(f"There is no original at {folder}. Run: mubench train {flags}{instead}")
    return str(base) if base else f"mubench/{name}"


def preset(setup: Setup, method: str, start: str | None = None, *, use_cpu: bool = False) -> dict[str, Any]:
    """Return the settings of a run before any flags: its source's, with its recipe or its method's preset.

    They are those of a single process; ``divided`` makes those of several.

    Full sources are trained under bfloat16 autocast on a GPU that computes in it, unless they say otherwise. A run's
    record says so; its name does not, since that is the preset there. A recipe is replayed as it is.

    Args:
        setup: The table.
        method: ``original``, or see ``get_method``.
        start: The original that the run starts from; a method that replays a recipe takes this one's.
        use_cpu: Whether the run takes the CPU whatever else there is.

    Raises:
        BadInput: If that original has no recipe, the weights that it started from are not available, or its recipe
            needs another device.
    """
    from mubench_hf.models.precision import has_bfloat16

    source = setup.task.source(setup.variant)
    shared = dict(source.settings)
    if setup.variant == "full" and has_bfloat16(use_cpu or bool(shared.get("use_cpu"))):
        shared = {"bf16": True, **shared}
    if method == ORIGINAL:
        return {**shared, **source.recipe, "init_from": setup.model.reference}
    trainer = get_method(method)
    if trainer.replays_recipe and start and Path(start).is_dir():
        recipe = Path(start, RECIPE)
        if not recipe.exists():
            raise BadInput(
                f"{start} has no {RECIPE}, so there is no recipe to replay. Use an original made by `mubench train`."
            )
        try:
            settings = dict(json.loads(recipe.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise BadInput(f"{recipe} is not a recipe that `mubench train` wrote: {error}") from error
        if settings.get("bf16") and not use_cpu and not has_bfloat16():
            raise BadInput(
                f"{start} was trained under bfloat16 autocast, and there is no GPU here that computes in it. Retrain "
                "where there is one, or on the CPU: --use_cpu"
            )
        return {**settings, "init_from": _weights_of(setup)} if is_foreign(setup.model) else settings
    return {**shared, **source.presets.get(trainer.method_key(), {})}


def _weights_of(setup: Setup) -> str:
    """Return where the weights are that an original started from, if its model is not registered."""
    started, reference = setup.external["model"], setup.model.hub_id
    if weights_digest(reference) != started["sha256"]:
        raise BadInput(
            f"Retraining starts from the weights that the original started from, {started['name']} (SHA-256 "
            f"{started['sha256'][:12]}), but {reference} holds others. Give that model: --model FOLDER."
        )
    return reference


def make_plan(
    setup: Setup,
    method: str,
    args: UnlearningConfig,
    *,
    start: str | None = None,
    folder: str | Path | None = None,
    adapter: AdapterSettings | None = None,
) -> Plan:
    """Return the run of a method with these settings, under its name.

    Args:
        setup: The table.
        method: ``original``, or see ``get_method``.
        args: The method's config with every setting of the run.
        start: The original that it starts from, see ``find_original``; ``None`` for an original.
        folder: Folder of the checkpoint; default: the one under ``setup.out`` that is named like the run.
        adapter: What is trained in place of the original's own weights; default: these.

    Raises:
        BadInput: If the seed is out of range, a setting is one that only a script of one's own can use, or an adapter
            is to be trained by the recipe of an original, whose weights saw D_f.
    """
    from mubench_hf.trainers._arguments import check_command

    check_seed(args.seed)
    check_command(args)
    trainer, adapter = get_method("retrain" if method == ORIGINAL else method), adapter or AdapterSettings()
    if trainer.replays_recipe and adapter.peft:
        raise BadInput(
            f"{method} is what unlearning is compared with, a whole model that never saw D_f; an adapter would leave "
            "it the original's weights. Leave --peft out; unlearned models with adapters are compared with it as well."
        )
    usual, external = preset(setup, method, start, use_cpu=args.use_cpu), dict(setup.external)
    settings = _differences(of_one_process(args, usual), usual)
    settings |= adapter.recorded
    if selects(args):
        settings["selected_on"] = SELECTION_SPLIT
    if method == ORIGINAL:
        key, base_model = ORIGINAL, setup.model.architecture.title if is_foreign(setup.model) else setup.model.hub_id
    else:
        key, base_model = trainer.method_key(), recorded_name(start)
        if base_model != f"mubench/{setup.original(args.seed).name}":
            settings["original"] = base_model.removeprefix("mubench/")
        if origin := METHODS.origin(trainer):
            external["method"] = asdict(origin)
    run = setup.run_id(key, args.seed, tag_of(settings, external))
    args.output_dir = str(folder or setup.checkpoint(run.checkpoint_name))
    return Plan(setup, run, trainer, args, settings, external, start, base_model, adapter, usual)


def check_seed(seed: int) -> None:
    """Check that every generator of random numbers takes a seed.

    Raises:
        BadInput: If one does not.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise BadInput(f"A seed is {seed}; allowed are whole numbers from 0 to {LARGEST_SEED}.")


def recorded_name(checkpoint: str) -> str:
    """Return a checkpoint's name in records: ``mubench/<name>`` for a run, else its own name."""
    if not Path(checkpoint).is_dir():
        return checkpoint
    record = load_record(checkpoint)
    return f"mubench/{record.run.checkpoint_name}" if record else Path(checkpoint).resolve().name


def _differences(args: UnlearningConfig, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the preset and affect the outcome."""
    usual = changed_arguments(type(args)(**{"output_dir": args.output_dir, "use_cpu": args.use_cpu, **before}))
    mine = changed_arguments(args)
    return {
        name: mine[name] if name in mine else plain(getattr(args, name))
        for name in sorted(usual.keys() | mine.keys())
        if name not in mine or name not in usual or mine[name] != usual[name]
    }
