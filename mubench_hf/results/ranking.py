"""How far each score can be trusted: the share of models of known order that it orders rightly, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mubench_hf.metrics import metrics_by_score, score_metric
from mubench_hf.runs.meta.states import (
    CHANGED,
    NEVER,
    PAIRS,
    RELEARN_STEPS,
    REORDERED,
    RETRAINED,
    ROUNDED,
    SAW,
    Pair,
    changed,
)

Unit = tuple[str, int]
"""A task and a seed."""

States = Mapping[str, Mapping[str, float | None]]
"""State, or state and change → score name → value."""

RESAMPLES, LEVEL = 2000, 0.95
"""Draws of the bootstrap over units, and how much of them an interval holds."""

TIE = 1e-9
"""Differences below it are rounding, so the pair is a tie."""

AUDIT = "audit_forget_"
"""What the names of scores begin with that audits make."""

MOVES = ("another seed", "8 bits", "row order")


@dataclass(frozen=True)
class Share:
    """A share of pairs.

    Attributes:
        value: The share in [0, 1], ties counted half; 0.5 is chance.
        low: Lower end of the interval.
        high: Upper end.
        pairs: How many pairs there are.
    """

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Rank:
    """What was found of one score.

    Attributes:
        score: Its name.
        direction: How it is read: ``higher``, ``lower`` or ``match_retrained``.
        every: Share of all pairs that it orders rightly.
        seen: That of pairs in which nothing is hidden; ``None`` without any.
        hidden: That of pairs in which D_f is hidden.
        moves: Harmless change → how far it moves the score, in spans between original and retrained model; ``None``
            where these two have the same.
    """

    score: str
    direction: str
    every: Share
    seen: Share | None
    hidden: Share | None
    moves: Mapping[str, float | None]


def rank_scores(units: Mapping[Unit, States], left_out: Mapping[Unit, Sequence[str]] | None = None) -> list[Rank]:
    """Return what was found of each score, the most trustworthy first.

    Args:
        units: Task and seed → what ``score_states`` returns.
        left_out: States of a unit that are not what they should be, so that their pairs don't count.
    """
    known = metrics_by_score()
    names = dict.fromkeys(name for states in units.values() for scores in states.values() for name in scores)
    ranks = []
    for name in names:
        metric = score_metric(name, known)
        # On D_f the retrained model's score is the target, whatever is better elsewhere.
        if name.startswith((AUDIT, "forget_")):
            direction = "match_retrained"
        elif metric is not None:
            direction = metric.direction
        else:  # A time is a cost, and says nothing of what a model holds.
            continue
        verdicts = {
            unit: _verdicts(states, name, direction, (left_out or {}).get(unit, ())) for unit, states in units.items()
        }
        every = _share(verdicts, PAIRS)
        if every is None:
            continue
        seen = _share(verdicts, [pair for pair in PAIRS if not pair.hidden])
        hidden = _share(verdicts, [pair for pair in PAIRS if pair.hidden])
        ranks.append(Rank(name, direction, every, seen, hidden, _moves(units, name)))
    return sorted(
        ranks, key=lambda rank: (-rank.every.value, sum(each or 0 for each in rank.moves.values()), rank.score)
    )


def left_out(notes: Mapping[str, Mapping]) -> list[str]:
    """Return the states that are not what they should be: not made, or hiding what four steps don't bring back.

    It is brought back if the loss on D_f then lies nearer to the original's than to the retrained model's, after the
    same steps.

    Args:
        notes: What ``make_states`` returns.
    """

    def loss(state: str) -> float:
        return notes[state]["retain"][str(RELEARN_STEPS)][0]

    missing = [state for state, note in notes.items() if "reason" in note]
    hiding = {pair.more for pair in PAIRS if pair.hidden} - {*missing}
    middle = (loss(SAW) + loss(RETRAINED)) / 2
    return missing + [state for state in sorted(hiding) if loss(state) > middle]


def audit_scores(notes: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
    """Return what audits found of each state as scores, whose target is the retrained model's.

    Args:
        notes: What ``make_states`` returns.
    """
    return {
        state: {
            f"{AUDIT}{what}_after_{step}_on_{on}": value
            for on, points in note.items()
            for step, pair in points.items()
            for what, value in zip(("loss", "score"), pair, strict=True)
            if step != "0"
        }
        for state, note in notes.items()
        if "reason" not in note
    }


def trace(value: float, direction: str, retrained: float) -> float:
    """Return how much of D_f a score says that a model holds; more is more.

    A score that the retrained model's is the target of is read as a table does, by its distance from that.
    """
    if direction == "match_retrained":
        return abs(value - retrained)
    return -value if direction == "higher" else value


def _verdicts(states: States, name: str, direction: str, left_out: Sequence[str]) -> dict[Pair, float]:
    """Return 1, 0 or, for a tie, a half for each pair that has both scores."""
    found = {state: scores.get(name) for state, scores in states.items() if state not in left_out}
    target = found.get(RETRAINED)
    if target is None:
        return {}
    verdicts = {}
    for pair in PAIRS:
        less, more = found.get(pair.less), found.get(pair.more)
        if less is not None and more is not None:
            difference = trace(more, direction, target) - trace(less, direction, target)
            verdicts[pair] = 0.5 if abs(difference) <= TIE else float(difference > 0)
    return verdicts


def _share(verdicts: Mapping[Unit, Mapping[Pair, float]], pairs: Sequence[Pair]) -> Share | None:
    """Return the share over all units, and its percentile interval over units that are drawn anew within each task."""
    right = {unit: [found[pair] for pair in pairs if pair in found] for unit, found in verdicts.items()}
    right = {unit: each for unit, each in right.items() if each}
    if not right:
        return None
    sums = {unit: np.array([sum(each), len(each)]) for unit, each in right.items()}
    draws, totals = np.random.default_rng(0), np.zeros((RESAMPLES, 2))
    for task in dict.fromkeys(task for task, _ in sums):
        own = np.stack([each for (of, _), each in sums.items() if of == task])
        totals += own[draws.integers(len(own), size=(RESAMPLES, len(own)))].sum(1)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [tail, 100 - tail])
    value, count = sum(sums.values())
    return Share(float(value / count), float(low), float(high), int(count))


def _moves(units: Mapping[Unit, States], name: str) -> dict[str, float | None]:
    """Return the mean distance that each change moves a score, over the mean span, averaged over tasks."""
    per_task: dict[str, list[list[float]]] = {}
    for (task, _), states in units.items():
        values = {state: scores.get(name) for state, scores in states.items()}

        def apart(one: str, other: str, values: Mapping[str, float | None] = values) -> float:
            first, second = values.get(one), values.get(other)
            return np.nan if first is None or second is None else abs(first - second)

        rounded, reordered = (
            float(np.mean([apart(state, changed(state, how)) for state in CHANGED])) for how in (ROUNDED, REORDERED)
        )
        per_task.setdefault(task, []).append([apart(SAW, RETRAINED), apart(NEVER, RETRAINED), rounded, reordered])
    ratios = []
    for rows in per_task.values():
        span, *moves = np.mean(rows, axis=0)
        if span > TIE:
            ratios.append(np.array(moves) / span)
    if not ratios:
        return dict.fromkeys(MOVES)
    return {
        move: float(value) if np.isfinite(value) else None
        for move, value in zip(MOVES, np.mean(ratios, 0), strict=True)
    }
