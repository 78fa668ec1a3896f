"""The columns of a leaderboard: which score, under which title, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.results.aggregate import MAIN_PREFIXES, Group, split_metrics

_ARROWS = {"higher": "↑", "lower": "↓", "match_retrained": "→"}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Score it shows; a prefix that ends in ``_`` is completed by the task's metric.
        header: Title, without the arrow of its direction.
        direction: ``higher``, ``lower`` or ``match_retrained``: what the best method has.
        digits: Digits after the decimal point.
    """

    key: str
    header: str
    direction: str
    digits: int = 3

    @property
    def arrow(self) -> str:
        """Sign of the direction: ``↑``, ``↓`` or ``→`` (towards retrain)."""
        return _ARROWS[self.direction]

    def score_key(self, metric: str | None) -> str:
        """Return the name of the score, given the task's metric."""
        return f"{self.key}{metric}" if self.key in MAIN_PREFIXES else self.key


COLUMNS = (
    Column("test_", "D_Test", "higher"),
    Column("forget_", "D_f", "match_retrained"),
    Column("retain_", "D_r", "higher"),
    Column("unlearn_seconds", "Seconds", "lower", digits=1),
    Column("retrain_time_ratio", "× retrain", "lower"),
    Column("mia_confidence_svc", "MIA conf", "match_retrained"),
    Column("mia_loss_auc", "MIA loss AUC", "match_retrained"),
    Column("zrf", "ZRF", "match_retrained"),
    Column("knowledge_gap", "Knowledge gap", "match_retrained"),
    Column("unlearning_score", "Score", "higher"),
    Column("average_gap", "Gap", "lower"),
)


def other_columns(groups: Sequence[Group], metric: str | None) -> tuple[Column, ...]:
    """Return columns for a task's other scores of its splits: all but the main one's."""
    columns = []
    for name in split_metrics(groups):
        if name != metric:
            # A score beside its module's own, such as ROUGE-1 beside ROUGE-L, has that one's direction.
            direction = get_metric(name).DIRECTION if name in list_metrics() else "higher"
            columns += [
                Column(f"{prefix}{name}", f"{split} {name}", "match_retrained" if prefix == "forget_" else direction)
                for prefix, split in zip(MAIN_PREFIXES, ("D_Test", "D_f", "D_r"), strict=True)
            ]
    return tuple(columns)
