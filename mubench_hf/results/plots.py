"""Pictures of results: forgetting against utility, time, and membership inference on log axes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import Group, aggregate, check_comparable, heading, main_metric
from mubench_hf.results.uncertainty import pairwise
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_logits
from mubench_hf.utils.files import write_atomic

# Okabe and Ito's colours, without yellow (too pale on white) and black (kept for the reference models).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "P", "X", "p", "h")
REFERENCE_STYLES = {"original": ("#666666", "D"), "retrain": ("#000000", "*")}
LINES = ("-", "--", "-.", ":")
_STYLE = ["default", {"font.size": 11, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False}]

Curve = tuple[Sequence[float], Sequence[float]]
"""False and true positive rates of one seed, both rising from 0 to 1, of equal length."""


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever the user has configured, and restore the configuration."""
    with matplotlib.style.context(_STYLE):
        yield


def draw_plots(
    results: Sequence[RunResult], logits: Path, plots: Path, title: str | None = None, metric: str | None = None
) -> list[Path]:
    """Draw the pictures of one table's results into ``plots`` and return their paths.

    Args:
        results: Results of one task, variant, model and ratio.
        logits: Folder with their outputs.
        plots: Where the PNG files go.
        title: Title of the task.
        metric: The task's metric; needed only where the results hold several.
    """
    from mubench_hf.metrics.mia_loss_auc import loss_roc  # It brings in `evaluate`.

    (groups,) = aggregate(results)
    labels = {name: group.label for group in groups for name in group.runs}
    curves: dict[str, list] = {}
    for result in results:
        if result.scores.get("mia_loss_auc") is not None:  # Runs without one have no ranking to draw.
            outputs = load_logits(result.name, logits, result.hashes)
            arrays = (outputs[f"{split}_{what}"] for split in ("forget", "test") for what in ("logits", "labels"))
            curves.setdefault(labels[result.name], []).append(loss_roc(*arrays))
    return [
        plot_forgetting_utility(groups, plots / "forgetting_utility.png", title, metric),
        plot_time(groups, plots / "time.png", title),
        plot_mia_roc(curves, plots / "mia_roc.png", heading(groups, title)),
    ]


@plot_style()
def plot_forgetting_utility(
    groups: Sequence[Group], path: str | Path, title: str | None = None, metric: str | None = None
) -> Path:
    """Write the PNG of ``forgetting_utility_figure`` to ``path`` and return the path."""
    return save_figure(forgetting_utility_figure(groups, title, metric), path)


@plot_style()
def plot_time(groups: Sequence[Group], path: str | Path, title: str | None = None) -> Path:
    """Write the PNG of ``time_figure`` to ``path`` and return the path."""
    return save_figure(time_figure(groups, title), path)


@plot_style()
def plot_mia_roc(
    curves: Mapping[str, Sequence[Curve]], path: str | Path, title: str = "", min_fpr: float | None = None
) -> Path:
    """Write the PNG of ``mia_roc_figure`` to ``path`` and return the path."""
    return save_figure(mia_roc_figure(curves, title, min_fpr), path)


@plot_style()
def forgetting_utility_figure(groups: Sequence[Group], title: str | None = None, metric: str | None = None) -> Figure:
    """Draw the score on the test set over the score on the deletion set, with bars of one standard deviation.

    Two lines cross at the retrained model: a method left of the vertical one forgot more than retraining does, and one
    below the horizontal one is less useful; within the grey bands it is as close to the retrained model as that is to
    one of another seed. Hollow points are methods with runs that are not ok.

    Args:
        groups: One list of ``aggregate``.
        title: Title of the task; its key by default.
        metric: The task's metric; needed only where the results hold several.

    Raises:
        BadInput: If the groups do not belong together, or ``metric`` is needed.
    """
    check_comparable(groups)
    metric = metric or main_metric(groups)
    figure, axes = _figure(7.6, 4.8, heading(groups, title))
    for group, (color, marker) in zip(groups, _point_styles(groups), strict=True):
        x, y = group.score(f"forget_{metric}"), group.score(f"test_{metric}")
        if x.mean is None or y.mean is None:
            axes.plot([], [], " ", label=f"{_label(group)} (no scores)")
            continue
        if group.method == "retrain":
            axes.axvline(x.mean, color="#999999", linestyle="--", linewidth=1, zorder=1)
            axes.axhline(y.mean, color="#999999", linestyle="--", linewidth=1, zorder=1)
            across, up = (_floor(group, f"{split}_{metric}") for split in ("forget", "test"))
            axes.axvspan(x.mean - across, x.mean + across, color="#999999", alpha=0.12, linewidth=0, zorder=0)
            axes.axhspan(y.mean - up, y.mean + up, color="#999999", alpha=0.12, linewidth=0, zorder=0)
        axes.errorbar(
            x.mean,
            y.mean,
            xerr=x.std,
            yerr=y.std,
            fmt=marker,
            color=color,
            markerfacecolor=color if group.status == "ok" else "white",
            markersize=15 if marker == "*" else 9,
            capsize=3,
            elinewidth=1.2,
            label=_label(group),
            zorder=3,
        )
    axes.margins(0.1)
    name = (metric or "main score").replace("_", " ")
    axes.set_xlabel(f"{name} on the deletion set $D_f$  (best: at retrain)")
    axes.set_ylabel(f"{name} on the test set  ↑")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _floor(group: Group, key: str) -> float:
    """Return how far retrained models of different seeds lie apart in a score; 0 if there is one seed."""
    _, found = pairwise([group.samples[key]] if key in group.samples else [])
    return found.mean if found else 0.0


@plot_style()
def time_figure(groups: Sequence[Group], title: str | None = None) -> Figure:
    """Draw the seconds of each method and of retraining as bars from zero, with the ratio to retraining beside them.

    The original is left out, as it unlearns nothing. A bar's whisker is one standard deviation over seeds.

    Args:
        groups: One list of ``aggregate``.
        title: Title of the task; its key by default.

    Raises:
        BadInput: If the groups do not belong together.
    """
    check_comparable(groups)
    shown = [group for group in groups if group.method != "original"]
    figure, axes = _figure(7.6, 1.5 + 0.42 * len(shown), heading(groups, title))
    for row, group in enumerate(shown):
        seconds, ratio = group.score("unlearn_seconds"), group.score("retrain_time_ratio")
        mean = seconds.mean or 0.0
        color = PALETTE[0] if group.is_method else "#999999"
        axes.barh(row, mean, xerr=seconds.std, color=color, height=0.62, error_kw={"capsize": 3, "elinewidth": 1.2})
        text = "no time" if seconds.mean is None else f"{mean:,.1f} s"
        text += "" if ratio.mean is None else f"  ({ratio.mean:.3g}×)"
        axes.annotate(
            text,
            (mean + (seconds.std or 0.0), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    axes.set_yticks(range(len(shown)), [_label(group) for group in shown])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    # Room for the text to the right of the longest bar.
    ends = [(g.score("unlearn_seconds").mean or 0.0) + (g.score("unlearn_seconds").std or 0.0) for g in shown]
    axes.set_xlim(0, 1.45 * max(ends, default=0.0) or 1.0)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("seconds (× retraining)  ↓")
    return figure


@plot_style()
def mia_roc_figure(curves: Mapping[str, Sequence[Curve]], title: str = "", min_fpr: float | None = None) -> Figure:
    """Draw membership inference as ROC curves on log axes, where low false positive rates can be read.

    Each seed is a thin line; with several, their mean true positive rate is the thick one. The grey diagonal is chance.

    Args:
        curves: Method to one curve per seed.
        title: What was attacked; ``aggregate.heading`` makes one.
        min_fpr: Where the axes start: one over the number of non-members; by default the smallest rate in the curves.

    Raises:
        BadInput: If there is no curve, or one is not a rising curve of rates from 0 to 1.
    """
    checked = {method: [_curve(method, *curve) for curve in seeds] for method, seeds in curves.items() if len(seeds)}
    if not checked:
        raise BadInput("There are no ROC curves to show.")
    if min_fpr is None:
        min_fpr = min(fpr[fpr > 0].min() for seeds in checked.values() for fpr, _ in seeds)
    if not 0 < min_fpr < 1:
        raise BadInput(f"The smallest false positive rate is {min_fpr}; log axes need one between 0 and 1.")
    figure, axes = _figure(7.2, 4.8, title)
    grid = np.geomspace(min_fpr, 1, 500)
    axes.plot(grid, grid, color="#bbbbbb", linewidth=1, label="guessing", zorder=1)
    others = [method for method in sorted(checked) if method not in REFERENCE_STYLES]
    for method in [*(name for name in REFERENCE_STYLES if name in checked), *others]:
        index = others.index(method) if method in others else 0
        color = PALETTE[index % len(PALETTE)] if method in others else REFERENCE_STYLES[method][0]
        # Between its points a ROC curve is straight (random choice between two thresholds), in linear coordinates.
        seeds = [np.interp(grid, fpr, tpr) for fpr, tpr in checked[method]]
        if len(seeds) > 1:
            for tpr in seeds:
                axes.plot(grid, tpr, color=color, linewidth=0.7, alpha=0.35, zorder=2)
        style = LINES[index // len(PALETTE) % len(LINES)]
        axes.plot(grid, np.mean(seeds, axis=0), color=color, linewidth=2, linestyle=style, label=method, zorder=3)
    axes.set(xscale="log", yscale="log", xlim=(min_fpr, 1), ylim=(min_fpr, 1))
    axes.set_xlabel("false positive rate (test rows taken for members)")
    axes.set_ylabel("true positive rate (deleted rows found)")
    axes.grid(True, which="major", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _figure(width: float, height: float, title: str) -> tuple:
    """Return a figure with its own canvas, which pyplot does not manage, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, 76), x=0.01, ha="left", fontsize=11)
    return figure, figure.add_subplot()


def _label(group: Group) -> str:
    return group.label if group.status == "ok" else f"{group.label}\n({group.status})"


def _point_styles(groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """Yield colour and marker of each group; no two methods share both."""
    index = 0
    for group in groups:
        if group.method in REFERENCE_STYLES:
            yield REFERENCE_STYLES[group.method]
        else:
            yield PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            index += 1


def _curve(method: str, fpr: Sequence[float], tpr: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    rates = [np.asarray(fpr, dtype=float), np.asarray(tpr, dtype=float)]
    rising = all(
        rate.ndim == 1 and rate.size > 1 and (np.diff(rate) >= 0).all() and rate[0] == 0 and rate[-1] == 1
        for rate in rates
    )
    if not rising or rates[0].size != rates[1].size:
        raise BadInput(f"A ROC curve of {method!r} does not rise from (0, 0) to (1, 1) in two lists of equal length.")
    return rates[0], rates[1]


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return the path."""
    # Without the Software entry the bytes depend on the drawing alone; PNGs of matplotlib carry no date.
    return write_atomic(Path(path), lambda stream: figure.savefig(stream, format="png", metadata={"Software": None}))
