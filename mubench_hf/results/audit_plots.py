"""Pictures of audits: what came back of D_f over the steps of training, the bits of weights and the share pruned."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench_hf.results.audits import AuditGroup, grouped, heading
from mubench_hf.results.plots import LINES, MARKERS, PALETTE, REFERENCE_STYLES, plot_style, save_figure
from mubench_hf.runs.audits.curves import Curve
from mubench_hf.runs.audits.report import AS_IS, AuditReport

Points = list[tuple[float, float]]
"""Places on the x axis and means over seeds."""


@dataclass(frozen=True)
class Panel:
    """One small plot.

    Attributes:
        title: Its title.
        x: Label of its x axis.
        read: A report → its points.
        log: Whether the y axis is logarithmic.
    """

    title: str
    x: str
    read: Callable[[AuditReport], Points]
    log: bool = False


def plot_audits(reports: Sequence[AuditReport], folder: Path, tag: str = "") -> list[Path]:
    """Write a picture for each task, variant, model and ratio, and return their paths.

    Args:
        reports: The reports.
        folder: Where they go.
        tag: What their names end in, see ``AuditSettings.tag``.
    """
    paths = []
    for groups in grouped(reports):
        first = groups[0].reports[0].run
        ratio = "" if first.del_ratio is None else f"-df{first.del_ratio}pct"
        figure = audit_figure(groups)
        if figure is not None:
            paths.append(save_figure(figure, folder / f"{first.table_name}{ratio}{tag}.png"))
    return paths


@plot_style()
def audit_figure(groups: Sequence[AuditGroup]) -> Figure | None:
    """Draw what audits found, a panel for each part and a line for each method; ``None`` if there is nothing to draw.

    Lines are means over seeds, of the steps that all of them have.
    """
    every = [
        Panel("Loss on D_f, trained on D_f", "steps", _curve("relearn", "forget", "losses"), log=True),
        Panel("D_f, trained on D_r", "steps", _curve("retain", "forget", "scores")),
        Panel("D_f, trained on unrelated rows", "steps", _curve("unrelated", "forget", "scores")),
        Panel("Other nine tenths, trained on a tenth", "steps", _curve("tenth", "rest", "scores")),
        Panel("D_f, fewer bits", "bits (32: as it is)", _levels("quantise", "forget", 32)),
        Panel("D_f, pruned", "% of weights", _levels("prune", "forget", 0)),
        Panel("D_Test, pruned", "% of weights", _levels("prune", "test", 0)),
    ]
    shown = [panel for panel in every if any(_mean(group, panel) for group in groups)]
    if not shown:
        return None
    across = min(4, len(shown))
    rows = math.ceil(len(shown) / across)
    figure = Figure(figsize=(3.4 * across, 2.7 * rows + 1.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(heading(groups), 34 * across), x=0.01, ha="left")
    for number, panel in enumerate(shown):
        axes = figure.add_subplot(rows, across, number + 1)
        _draw(axes, groups, panel)
        axes.set_ylabel("loss" if panel.log else "score")
    handles = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(),
                                                                                strict=True)}  # fmt: skip
    figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=across, frameon=False)
    return figure


def _draw(axes: Axes, groups: Sequence[AuditGroup], panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    methods = 0
    for group in groups:
        color, marker = REFERENCE_STYLES.get(group.method, ("", ""))
        line = ":"
        if not color:
            color, marker = PALETTE[methods % len(PALETTE)], MARKERS[methods % len(MARKERS)]
            line = LINES[methods // len(PALETTE) % len(LINES)]
            methods += 1
        points = _mean(group, panel)
        if not points:
            continue
        places, values = zip(*points, strict=True)
        many = len(points) > 12
        axes.plot(places, values, color=color, marker="" if many else marker, linestyle=line, markersize=4,
                  linewidth=1.4, label=group.label)  # fmt: skip
    if panel.log and all(value > 0 for line in axes.lines for value in line.get_ydata()):
        axes.set_yscale("log")
    if "bits" in panel.x:
        axes.set_xscale("log", base=2)
        axes.set_xticks([4, 8, 32], ["4", "8", "32"])
        axes.invert_xaxis()


def _mean(group: AuditGroup, panel: Panel) -> Points:
    """Return the means over a group's seeds, at the places that all of them have."""
    found = [dict(panel.read(report)) for report in group.reports]
    found = [points for points in found if points]
    if not found:
        return []
    places = sorted(set.intersection(*(set(points) for points in found)))
    return [(place, sum(points[place] for points in found) / len(found)) for place in places]


def _curve(part: str, rows: str, what: str) -> Callable[[AuditReport], Points]:
    def read(report: AuditReport) -> Points:
        content = report.parts.get(part, {"reason": "not asked for"})
        watched = {} if "reason" in content else Curve.from_dict(content).watched
        if rows not in watched:
            return []
        points = zip(watched[rows].steps, getattr(watched[rows], what), strict=True)
        return [(step, value) for step, value in points if value is not None]

    return read


def _levels(part: str, split: str, untouched: float) -> Callable[[AuditReport], Points]:
    def read(report: AuditReport) -> Points:
        levels: dict[str, Any] = report.parts.get(part, {}).get("levels", {})
        as_it_is = report.parts.get(AS_IS, {}).get(split)
        every = {untouched: as_it_is, **{float(key): made[split] for key, made in levels.items()}} if levels else {}
        return [(place, at["score"]) for place, at in every.items() if at and at["score"] is not None]

    return read
