"""Rows per update: what a preset says, whatever number of processes makes a run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from mubench_hf.trainers import UnlearningConfig
    from mubench_hf.trainers._passes import PassSampler

ROWS, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"


def divided(settings: Mapping[str, Any], config: type[UnlearningConfig], processes: int) -> dict[str, Any]:
    """Return a preset's settings for each of several processes, so that together they make the updates of one.

    A preset is written for one process: rows of a micro-batch times accumulation are the rows of an update. Among
    several, micro-batches have as many of these rows as possible, and at most as many as in one process.

    Args:
        settings: The preset.
        config: The method's config, whose ``setting(..., per_process=True)`` are rows of a micro-batch, too.
        processes: The number of processes.

    Raises:
        BadInput: If that number of processes cannot have equal shares of an update.
    """
    if processes == 1:
        return dict(settings)
    rows, steps = _of_one(settings, config)
    found = _shares(rows, steps, processes)
    if found is None:
        update = rows[ROWS] * steps
        fitting = [count for count in range(1, update + 1) if update % count == 0 and _shares(rows, steps, count)]
        of_passes = "".join(f", and {name} {count}" for name, count in rows.items() if name != ROWS)
        raise BadInput(
            f"The preset's updates have {update} rows ({ROWS} {rows[ROWS]} x {ACCUMULATION} {steps}{of_passes}), which "
            f"{processes} processes cannot share equally. Use another number of them ({', '.join(map(str, fitting))}), "
            f"or give --{ROWS}, the rows of each process, which makes another run."
        )
    return {**settings, **found}


def of_one_process(args: UnlearningConfig, settings: Mapping[str, Any]) -> UnlearningConfig:
    """Return a run's settings as one process would make the same updates: by these a run is named and compared.

    Args:
        args: The settings of each process.
        settings: The preset; updates with as many rows as its own are the preset's.
    """
    if args.world_size == 1:
        return args
    one = copy.copy(args)
    usual, steps = _of_one(settings, type(args))
    rows = {name: getattr(args, name) for name in _names(type(args)) if getattr(args, name) is not None}
    made = {name: count * args.gradient_accumulation_steps * args.world_size for name, count in rows.items()}
    if made == {name: count * steps for name, count in usual.items()}:
        found = {**usual, ACCUMULATION: steps}
    else:
        found = {name: count * args.world_size for name, count in rows.items()}
    for name, value in found.items():
        setattr(one, name, value)
    return one


def check_equal_updates(sampler: PassSampler, epochs: int, accumulation: int) -> None:
    """Check that several processes make as many updates of the rows at hand as one process would.

    Args:
        sampler: The rows of each update.
        epochs: The number of epochs.
        accumulation: Micro-batches of an update in one process.

    Raises:
        BadInput: If there are fewer, because some update has fewer rows than processes.
    """
    for epoch in range(epochs):
        here, alone = sampler.update_count(epoch), sampler.update_count(epoch, shares=accumulation)
        if here != alone:
            raise BadInput(
                f"One process makes {alone} updates in epoch {epoch + 1}, but {sampler.world_size} would make {here}, "
                "so that each has a row of every update, and the run would be another. Use fewer processes."
            )


def _names(config: type[UnlearningConfig]) -> list[str]:
    return [ROWS, *(name for name, allowed in config.ranges.items() if allowed.per_process)]


def _of_one(settings: Mapping[str, Any], config: type[UnlearningConfig]) -> tuple[dict[str, int], int]:
    """Return a preset's rows of micro-batches, by setting, and its accumulation."""
    known = {name: settings.get(name, config.__dataclass_fields__[name].default) for name in _names(config)}
    rows = {name: int(count) for name, count in known.items() if count is not None}
    return rows, int(settings.get(ACCUMULATION, config.__dataclass_fields__[ACCUMULATION].default))


def _shares(rows: Mapping[str, int], steps: int, processes: int) -> dict[str, int] | None:
    """Return what each process takes of updates of ``rows`` times ``steps`` rows; ``None`` if that does not divide."""
    share = rows[ROWS] * steps // processes
    if share * processes != rows[ROWS] * steps:
        return None
    for each in range(min(rows[ROWS], share), 0, -1):
        accumulation = share // each
        whole = {name: divmod(count * steps, accumulation * processes) for name, count in rows.items()}
        if accumulation * each == share and not any(left for _, left in whole.values()):
            return {**{name: count for name, (count, _) in whole.items()}, ACCUMULATION: accumulation}
    return None
