"""Every score over the deletion ratio: a picture of small plots, a line for each row of the tables."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import Group, main_metric
from mubench_hf.results.columns import table_columns
from mubench_hf.results.plots import LINES, MARKERS, PALETTE, REFERENCE_STYLES, plot_style, save_figure

ACROSS = 4
"""Small plots side by side."""


def plot_curves(
    tables: Sequence[Sequence[Group]], path: str | Path, title: str | None = None, metric: str | None = None
) -> Path:
    """Write the PNG of ``curves_figure`` to ``path`` and return the path."""
    with plot_style():
        return save_figure(curves_figure(tables, title, metric), path)


def curves_figure(tables: Sequence[Sequence[Group]], title: str | None = None, metric: str | None = None) -> Figure:
    """Draw the mean of each score over the deletion ratio, with bars of one standard deviation over seeds.

    Args:
        tables: Lists of ``aggregate`` of one task, variant and model, one for each of several ratios.
        title: Title of the task; its key by default.
        metric: The task's metric; needed only where the results hold several.

    Raises:
        BadInput: If the lists differ in more than the ratio, or there are fewer than two.
    """
    groups = [group for table in tables for group in table]
    ratios = sorted({group.del_ratio for group in groups if group.del_ratio is not None})
    if len(ratios) < 2 or len({(group.task, group.variant, group.model) for group in groups}) > 1:
        raise BadInput("Curves over the deletion ratio need results of one task, variant and model at several ratios.")
    metric = metric or main_metric(groups)
    columns = [
        column
        for column in table_columns(groups, metric)
        if any(group.score(column.score_key(metric)).mean is not None for group in groups)
    ]
    rows = math.ceil(len(columns) / ACROSS)
    figure = Figure(figsize=(3.1 * ACROSS, 2.5 * rows + 1.4), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    first = groups[0]
    named = f"{title or first.task}{f'-mini (not {title or first.task})' if first.variant == 'mini' else ''}"
    figure.suptitle(textwrap.fill(f"{named} · {first.model} · over the deletion ratio", 110), x=0.01, ha="left")
    styles = _styles(groups)
    for number, column in enumerate(columns):
        axes = figure.add_subplot(rows, ACROSS, number + 1)
        axes.set_title(column.title)
        axes.set_xticks(ratios)
        _draw(axes, groups, column.score_key(metric), styles)
        if number + ACROSS >= len(columns):
            axes.set_xlabel("% deleted")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=ACROSS, frameon=False)
    return figure


def _draw(axes: Axes, groups: Sequence[Group], key: str, styles: dict[str, tuple[str, str, str]]) -> None:
    """Draw one score of every row of the tables."""
    for label, (color, marker, line) in styles.items():
        points = [(group.del_ratio, group.score(key)) for group in groups if group.label == label]
        points = sorted((ratio, found) for ratio, found in points if ratio is not None and found.mean is not None)
        axes.errorbar(
            [ratio for ratio, _ in points],
            [found.mean for _, found in points],
            yerr=[found.std or 0.0 for _, found in points],
            color=color,
            marker=marker,
            linestyle=line,
            markersize=4,
            linewidth=1.4,
            elinewidth=0.8,
            label=label,
        )


def _styles(groups: Sequence[Group]) -> dict[str, tuple[str, str, str]]:
    """Return colour, marker and line of each row; no two rows share all of them, up to as many as there are."""
    found: dict[str, tuple[str, str, str]] = {}
    index = 0
    for group in groups:
        if group.label in found:
            continue
        if group.method in REFERENCE_STYLES and not group.differs:
            found[group.label] = (*REFERENCE_STYLES[group.method], ":")
        else:
            line = LINES[index // len(PALETTE) % len(LINES)]
            found[group.label] = (PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)], line)
            index += 1
    return found
