"""How a deletion list is cut into blocks of rows, and which blocks a configuration forgets.

A scenario is a partition of the train rows into blocks, in a data set of its own. The benchmark's rule draws a list
that is cut into ten blocks, of which R are forgotten at R percent. A list that a person names is a single block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mubench_hf.data.splits import RATIOS, check_ratio, deletion_size
from mubench_hf.errors import BadInput
from mubench_hf.tasks import TaskSpec, Variant

GIVEN = "given"
"""The manifest's name for the rule of a list that a person named."""


@dataclass(frozen=True)
class Blocks:
    """One way of cutting a deletion list.

    Attributes:
        files: File of each block, in the order of the list.
        configs: Configuration → how many of the first blocks it forgets.
    """

    files: tuple[str, ...]
    configs: Mapping[str, int]


PERCENTS = Blocks(
    files=tuple(f"data/forget_{percent:02d}.parquet" for percent in RATIOS),
    configs={f"df_{ratio}pct": ratio for ratio in RATIOS},
)
"""The rows of the first percent to forget, the second, ..."""

WHOLE = Blocks(files=("data/forget.parquet",), configs={"df": 1})
"""All rows of a list that was named."""


def blocks_of(rule: str) -> Blocks:
    """Return how the list of a rule is cut, given the manifest's name for the rule."""
    return WHOLE if rule == GIVEN else PERCENTS


def source_blocks(task: TaskSpec, variant: Variant) -> Blocks:
    """Return how the deletion list of a task's source is cut."""
    return PERCENTS if task.source(variant).forget is None else WHOLE


def block_ends(blocks: Blocks, length: int) -> list[int]:
    """Return where each block ends in a list of ``length`` rows."""
    return [length] if blocks is WHOLE else [deletion_size(length, ratio) for ratio in RATIOS]


def forgotten_blocks(rule: str, ratio: Any) -> tuple[str, ...]:
    """Return the files of the blocks that are forgotten.

    Args:
        rule: The manifest's name of the rule that made the list.
        ratio: Percent of train to forget; ``None`` for all of a list that was named.

    Raises:
        BadInput: If the ratio is not a whole number from 1 to 10, or a ratio is given for a list that was named.
    """
    if blocks_of(rule) is PERCENTS:
        return PERCENTS.files[: check_ratio(ratio)]
    if ratio is not None:
        raise BadInput(f"The rows to forget were named, so they are not {ratio!r} percent. Leave the ratio out.")
    return WHOLE.files


def config_name(ratio: int | None) -> str:
    """Return the configuration of a ratio in percent, or of a list that is forgotten whole: ``df_5pct``, ``df``."""
    return "df" if ratio is None else f"df_{ratio}pct"


def ratio_of(task: TaskSpec, variant: Variant, asked: Any = None) -> int | None:
    """Return the deletion ratio in percent of a task's source; ``None`` if its rows to forget are named.

    Args:
        task: The task.
        variant: ``full`` or ``mini``.
        asked: The ratio that was asked for; ``None`` for the source's own.

    Raises:
        BadInput: If the ratio is not a whole number from 1 to 10, or the rows are named and so have no ratio.
    """
    source = task.source(variant)
    if source.forget is None:
        return check_ratio(source.del_ratio if asked is None else asked)
    if asked is not None:
        raise BadInput(
            f"{task.name} forgets {len(source.forget.rows):,} named rows, no percentage, so the deletion ratio "
            f"{asked!r} means nothing. Leave it out."
        )
    return None
