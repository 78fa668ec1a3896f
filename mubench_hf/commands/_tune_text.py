"""What `mubench tune` says: the chosen settings as flags and as a preset, and the list of all trials in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mubench_hf.errors import visible
from mubench_hf.runs.trials import Trial, best
from mubench_hf.trainers._search import Searched

HEAD = """# Trials

Every trial of `mubench tune` in one folder, also those without a gap; [tuning.md](tuning.md) says on which rows. The
first trial of each method is the preset. A gap is the average gap to the model retrained with the same seed.
"""


def found_text(method: str, trials: Sequence[Trial], space: Mapping[str, Searched]) -> str:
    """Return what the trials of a method found: preset and best beside each other, and the best as it is used."""
    chosen, first = best(list(trials)), trials[0]
    scored = sum(trial.gap is not None for trial in trials)
    lines = [f"{method}: {len(trials)} trials, {scored} with a gap; tried: {_tried(space)}"]
    lines.append(f"  preset: {_gap(first)}  {_settings(first.settings)}")
    if chosen is None:
        return "\n".join([*lines, "  No trial has a gap."])
    if chosen.number == 0:
        return "\n".join([*lines, "  No other is better."])
    lines.append(f"  best:   {_gap(chosen)}  {_settings(chosen.settings)} (trial {chosen.number})")
    flags = " ".join(f"{method}.{name}={value}" for name, value in chosen.settings.items())
    lines += [f"  In a sweep: --set {flags}", f"  As a preset: {json.dumps({method: chosen.settings})}"]
    return "\n".join(lines)


def trials_text(found: Mapping[str, tuple[Mapping[str, Any], Sequence[Trial]]]) -> str:
    """Return every trial of every search as Markdown."""
    parts = [HEAD]
    for name, (about, trials) in found.items():
        space = ", ".join(f"{key} {ends[0]:g} to {ends[1]:g}" for key, ends in about.get("space", {}).items())
        chosen = best(list(trials))
        parts.append(
            f"## {visible(name)}\n\n{len(trials)} trials over the seeds "
            f"{', '.join(map(str, about.get('seeds', [])))}, drawn by `{visible(str(about.get('sampler')))}` with seed "
            f"{about.get('seed')}: {visible(space)}.\n"
        )
        rows = ["| Trial | Settings | Gap | Of each seed |", "|---:|---|---:|---|"]
        for trial in trials:
            gap = f"**{trial.gap:.4f}**" if trial is chosen else _gap(trial)
            each = visible(trial.reason) if trial.reason else " ".join(f"{value:.4f}" for value in trial.gaps.values())
            rows.append(f"| {trial.number} | {_settings(trial.settings)} | {gap} | {each.replace('|', '/')} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def trial_line(method: str, trial: Trial) -> str:
    """Return a finished trial in one line."""
    return f"{method}, trial {trial.number}: {_settings(trial.settings)}: {trial.reason or 'gap ' + _gap(trial)}"


def _gap(trial: Trial) -> str:
    return "–" if trial.gap is None else f"{trial.gap:.4f}"


def _settings(settings: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in settings.items())


def _tried(space: Mapping[str, Searched]) -> str:
    return ", ".join(f"{name} {each.least:g} to {each.most:g}" for name, each in space.items())
