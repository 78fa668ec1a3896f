"""What an audit's parts come to: scores, each a number or ``None`` with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.runs.audits.curves import Curve
from mubench_hf.runs.audits.report import AS_IS

Parts = Mapping[str, Mapping[str, Any]]
Found = tuple[float | None, str | None]


def audit_scores(
    mine: Parts, retrain: Parts | None = None, original: Parts | None = None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return every score of a model's parts, and for each that is ``None`` the reason.

    Args:
        mine: The parts of the audited model.
        retrain: Those of the retrained model, which ``relearn_time`` is compared with.
        original: Those of the original, whose loss on D_f is to be reached.
    """
    found: dict[str, Found] = {}
    for name, part in mine.items():
        if name == AS_IS:
            found |= {f"{split}_score": _score(part.get(split), part) for split in SPLITS}
        elif name in ("quantise", "prune"):
            found |= dict(_compressed(name, part))
        else:
            found |= dict(_after(name, part))
    if "relearn" in mine:
        steps = relearn_steps(mine)
        found["relearn_steps"] = steps if original is not None else (None, "needs the original, whose loss is the aim")
        found["relearn_time"] = _ratio(found["relearn_steps"], retrain)
    reasons = {key: str(reason) for key, (value, reason) in found.items() if value is None}
    return {key: value for key, (value, _) in found.items()}, reasons


def relearn_steps(parts: Parts) -> Found:
    """Return after how many steps on D_f a model's loss was as low as asked for, or why that is not known."""
    part = parts.get("relearn", {"reason": "was not asked for"})
    if "reason" in part:
        return None, part["reason"]
    if part["target"] is None:
        return None, "needs the original, whose loss is the aim"
    points = Curve.from_dict(part).main
    steps = points.first_within(part["target"])
    if steps is not None:
        return float(steps), None
    return None, part["stopped"] or f"the loss on D_f is above {part['target']:.3g} after {points.steps[-1]} steps"


def _ratio(steps: Found, retrain: Parts | None) -> Found:
    if retrain is None:
        return None, "needs the retrained model of the same seed"
    if steps[0] is None:
        return steps
    others, reason = relearn_steps(retrain)
    if others is None:
        return None, f"of the retrained model: {reason}"
    if others == 0:
        return None, "the retrained model's loss on D_f is as low before the first step, so there is no time to compare"
    return steps[0] / others, None


def _after(name: str, part: Mapping[str, Any]) -> Iterator[tuple[str, Found]]:
    """Yield the score of each watched set of rows after each number of steps."""
    if "reason" in part:
        yield f"{'rest' if name == 'tenth' else 'forget'}_after_{name}", (None, part["reason"])
        return
    for rows, points in Curve.from_dict(part).watched.items():
        for step in (0, *part["asked"]):
            at = points.after(step)
            why = "the task's own score could not be computed" if at else part["stopped"] or "was not measured"
            yield f"{rows}_after_{step}_{_tuned(name)}", (at[1] if at else None, why)


def _tuned(name: str) -> str:
    return "forget" if name == "relearn" else name


def _compressed(name: str, part: Mapping[str, Any]) -> Iterator[tuple[str, Found]]:
    if "reason" in part:
        yield f"forget_{name}", (None, part["reason"])
        return
    for key, made in part["levels"].items():
        suffix = f"{key}bit" if name == "quantise" else f"pruned_{key}pct"
        for split in SPLITS:
            yield f"{split}_{suffix}", _score(made.get(split), made)


def _score(at: Mapping[str, Any] | None, part: Mapping[str, Any]) -> Found:
    if at is None:
        return None, str(part.get("reason", "was not measured"))
    return at["score"], at["reason"]
