"""Whether a submitted original is one: gaps to it say nothing if it is a model that never learned the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mubench_hf.leaderboard.checks import Problem, Table
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.scores import Scores
from mubench_hf.tasks import get_task

ABOVE_CHANCE, NEAR_OFFICIAL, SPREADS = 0.05, 0.05, 3
"""How far above chance an original's score on D_r lies at least, and how far its scores lie at most from those of
the board's verified originals: the larger of a share and some standard deviations over these."""


def implausible(table: Table, scores: Mapping[str, Scores], chance: Mapping[str, float]) -> Iterator[Problem]:
    """Yield the submitted originals that no training with the task's recipe gives.

    Args:
        table: The runs.
        scores: Name of a run → its recomputed scores.
        chance: Name of a run → the score of a model that knows nothing.
    """
    metric = get_task(table.entries[0].result.task).metric
    keys = [f"{split}_{metric}" for split in SPLITS]
    originals = [entry for entry in table.every if entry.result.method == ORIGINAL]
    official = [entry.result for entry in (*originals, *table.others) if entry.verified]
    official = [each for each in official if each.method == ORIGINAL]
    for run in (entry.result for entry in table.entries if entry.result.method == ORIGINAL and not entry.verified):
        found = scores.get(run.name, {})
        kept = found.get(f"retain_{metric}")
        if kept is not None and run.name in chance and kept < chance[run.name] + ABOVE_CHANCE:
            yield Problem(
                run.name,
                f"its retain_{metric} is {kept:.3f}, and a model that knows nothing has {chance[run.name]:.3f}: it was "
                "not trained on these rows. Train it with `mubench train`.",
            )
            continue
        for key in keys:
            theirs = [value for other in official if (value := other.scores.get(key)) is not None]
            if not theirs or found.get(key) is None:
                continue
            spread = np.std(theirs, ddof=1) if len(theirs) > 1 else 0.0
            most = max(NEAR_OFFICIAL, SPREADS * float(spread))
            if abs(found[key] - np.mean(theirs)) > most:
                yield Problem(
                    run.name,
                    f"its {key} is {found[key]:.3f}, and {len(theirs)} verified original(s) of the leaderboard have "
                    f"{np.mean(theirs):.3f}; allowed: {most:.3f} apart. Train it with the task's recipe.",
                )
                break
