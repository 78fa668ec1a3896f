import itertools
import random
import struct
import zlib

import matplotlib
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.plots import (
    PALETTE,
    forgetting_utility_figure,
    mia_roc_figure,
    plot_forgetting_utility,
    plot_mia_roc,
    plot_time,
    time_figure,
)
from mubench_hf.runs.result import RunResult

METHODS = ["original", "retrain", "bad_teaching", "neggrad", "scrub"]


def make_run(method="scrub", seed=0, scores=None, **changes):
    values = dict(task="cifar100", variant="mini", data_fingerprint="f", deletion_sha256="d", model="vit", del_ratio=5)
    values |= dict(status="ok", scores=scores or {}, method=method, seed=seed)
    if changes.get("status", "ok") != "ok":
        values["status_reason"] = "loss is not finite"
    return RunResult(**(values | changes))


def groups_of(*runs):
    (groups,) = aggregate(runs)
    return groups


@pytest.fixture
def groups():
    keys = ("test_accuracy", "forget_accuracy", "retain_accuracy", "unlearn_seconds", "retrain_time_ratio")
    runs = []
    for method in METHODS:
        for seed in range(3):
            scores = {key: random.uniform(0.1, 0.9) for key in keys}
            bad = {"status": "diverged"} if method == "neggrad" and seed == 1 else {}
            runs.append(make_run(method, seed, scores, **bad))
    return groups_of(*runs)


@pytest.fixture
def curves():
    rng = np.random.default_rng()

    def curve(shift):
        scores = np.concatenate([rng.normal(shift, 1, 200), rng.normal(0, 1, 400)])
        return roc_curve([1] * 200 + [0] * 400, scores)[:2]

    return {"scrub": [curve(0.5), curve(0.4), curve(0.6)], "retrain": [curve(0.0)]}


def bars_by_label(axes):
    return {container.get_label(): container for container in axes.containers}


def texts_inside(figure):
    """Assert that no text is cut by the edge of the figure or runs into another; return the texts."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    beyond = {  # ticks outside of the axes exist but are not drawn
        tick.label1
        for axes in figure.axes
        for axis, limits in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim())))
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        if not limits[0] <= tick.get_loc() <= limits[1]
    }
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    texts = [text for text in texts if text not in beyond]
    for text in texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for a, b in itertools.combinations(texts, 2):
        assert not a.get_window_extent(renderer).overlaps(b.get_window_extent(renderer)), (a, b)
    return [text.get_text() for text in texts]


def png_chunks(data):
    """Return the chunk names of a PNG, having checked every checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    names, at = [], 8
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        names.append(name.decode())
        at += size + 12
    return names


def test_points_lie_at_forgetting_and_utility_with_their_deviations(groups):
    (axes,) = forgetting_utility_figure(groups).axes
    bars = bars_by_label(axes)
    assert list(bars) == ["original", "retrain", "bad_teaching", "neggrad\n(diverged 1/3)", "scrub"]
    for group, container in zip(groups, axes.containers, strict=True):
        x, y = group.score("forget_accuracy"), group.score("test_accuracy")
        point, _, (horizontal, vertical) = container
        assert point.get_xydata().tolist() == [[x.mean, y.mean]]
        np.testing.assert_allclose(horizontal.get_segments()[0], [[x.mean - x.std, y.mean], [x.mean + x.std, y.mean]])
        np.testing.assert_allclose(vertical.get_segments()[0], [[x.mean, y.mean - y.std], [x.mean, y.mean + y.std]])


def test_lines_cross_at_the_retrained_model(groups):
    (axes,) = forgetting_utility_figure(groups).axes
    x, y = groups[1].score("forget_accuracy").mean, groups[1].score("test_accuracy").mean
    lines = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata() for line in lines] == [[x, x], [0, 1]]
    assert [line.get_ydata() for line in lines] == [[0, 1], [y, y]]
    (axes,) = forgetting_utility_figure([group for group in groups if group.method != "retrain"]).axes
    assert not [line for line in axes.lines if line.get_linestyle() == "--"]


def test_points_can_be_told_apart():
    names = ["original", "retrain", *(f"m{index:02}" for index in range(20))]
    scores = {"test_accuracy": 0.5, "forget_accuracy": 0.5, "retain_accuracy": 0.5}
    (axes,) = forgetting_utility_figure(groups_of(*(make_run(name, scores=scores) for name in names))).axes
    looks = {(line.get_marker(), line.get_color()) for line, _, _ in axes.containers}
    assert len(looks) == len(names)


def test_methods_that_diverged_are_hollow(groups):
    (axes,) = forgetting_utility_figure(groups).axes
    hollow = [label for label, bar in bars_by_label(axes).items() if bar[0].get_markerfacecolor() == "white"]
    assert hollow == ["neggrad\n(diverged 1/3)"]


def test_one_seed_has_no_bars_and_missing_points_stand_in_the_legend():
    figure = forgetting_utility_figure(
        groups_of(
            make_run("retrain", scores={"test_accuracy": 0.5, "forget_accuracy": 0.25, "retain_accuracy": 0.5}),
            make_run("scrub", scores={"test_accuracy": None}, reasons={"test_accuracy": "no"}),
        ),
    )
    (axes,) = figure.axes
    assert [container.get_label() for container in axes.containers] == ["retrain"]
    assert len(axes.collections) == 0
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["scrub (no scores)", "retrain"]


def test_titles_say_what_was_measured(groups):
    for figure in (forgetting_utility_figure(groups, "CIFAR-100"), time_figure(groups, "CIFAR-100")):
        text = figure.get_suptitle()
        assert text == "CIFAR-100-mini (not CIFAR-100) · vit · 5% deleted · seeds 0, 1, 2"


def test_bars_show_seconds_and_the_ratio_to_retraining(groups):
    (axes,) = time_figure(groups).axes
    shown = groups[1:]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "retrain",
        "bad_teaching",
        "neggrad\n(diverged 1/3)",
        "scrub",
    ]
    assert axes.yaxis_inverted()
    for row, (group, bar, text) in enumerate(zip(shown, axes.patches, axes.texts, strict=True)):
        seconds, ratio = group.score("unlearn_seconds"), group.score("retrain_time_ratio")
        assert bar.get_x() == 0 and bar.get_width() == seconds.mean
        assert bar.get_y() + bar.get_height() / 2 == pytest.approx(row)
        assert text.get_text() == f"{seconds.mean:,.1f} s  ({ratio.mean:.3g}×)"
        assert text.xy == (pytest.approx(seconds.mean + seconds.std), row)
    assert [bar.get_facecolor() == matplotlib.colors.to_rgba(PALETTE[0]) for bar in axes.patches] == [False] + [
        True
    ] * 3


def test_a_method_without_a_time_says_so():
    (axes,) = time_figure(groups_of(make_run(), make_run("retrain", scores={"unlearn_seconds": 4000}))).axes
    assert [text.get_text() for text in axes.texts] == ["4,000.0 s", "no time"]
    assert [bar.get_width() for bar in axes.patches] == [4000, 0]
    (axes,) = time_figure(groups_of(make_run())).axes
    assert axes.get_xlim() == (0, 1)


def test_roc_lines_are_the_curves_on_log_axes(curves):
    (axes,) = mia_roc_figure(curves, "what", min_fpr=1 / 400).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim() == axes.get_ylim() == (1 / 400, 1)
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["guessing", "retrain", "scrub"]
    np.testing.assert_array_equal(lines["guessing"].get_xdata(), lines["guessing"].get_ydata())
    thin = [line for line in axes.lines if line.get_label().startswith("_")]
    assert len(thin) == 3
    np.testing.assert_allclose(lines["scrub"].get_ydata(), np.mean([line.get_ydata() for line in thin], axis=0))
    # Between two points of a curve the line stays between their heights, and is straight.
    for (fpr, tpr), line in zip([*curves["scrub"], *curves["retrain"]], [*thin, lines["retrain"]], strict=True):
        for x, y in zip(line.get_xdata()[::37], line.get_ydata()[::37], strict=True):
            left = max(index for index in range(len(fpr)) if fpr[index] <= x)
            right = min(left + 1, len(fpr) - 1)
            share = 0 if fpr[right] == fpr[left] else (x - fpr[left]) / (fpr[right] - fpr[left])
            assert y == pytest.approx(tpr[left] + share * (tpr[right] - tpr[left]), abs=1e-9)


def test_roc_axes_start_at_the_smallest_rate_by_default():
    curves = {"a": [([0, 0.25, 1], [0, 0.5, 1])], "b": [([0, 0, 0.125, 1], [0, 0.5, 0.5, 1])]}
    (axes,) = mia_roc_figure(curves).axes
    assert axes.get_xlim() == (0.125, 1)


def test_a_sloped_piece_of_a_roc_curve_is_straight():
    (axes,) = mia_roc_figure({"scrub": [([0, 0.25, 1], [0, 0.5, 1])]}, min_fpr=0.01).axes
    (line,) = [line for line in axes.lines if line.get_label() == "scrub"]
    x, y = line.get_xdata(), line.get_ydata()
    assert x[0] == pytest.approx(0.01) and x[-1] == pytest.approx(1)
    np.testing.assert_allclose(y, np.where(x < 0.25, 2 * x, 0.5 + (x - 0.25) * 2 / 3))


@pytest.mark.parametrize(
    "curve",
    [
        ([0, 0.5, 0.25, 1], [0, 0.5, 0.75, 1]),
        ([0, 0.5, 1], [0, 1]),
        ([0.1, 1], [0, 1]),
        ([0, 2], [0, 1]),
        ([0, float("nan"), 1], [0, 0.5, 1]),
        ([], []),
    ],
)
def test_what_is_no_roc_curve_is_refused(curve):
    with pytest.raises(BadInput, match="'scrub'"):
        mia_roc_figure({"scrub": [curve]})


def test_impossible_requests_are_refused(groups, curves):
    with pytest.raises(BadInput, match="no ROC curves"):
        mia_roc_figure({"scrub": []})
    with pytest.raises(BadInput, match="between 0 and 1"):
        mia_roc_figure(curves, min_fpr=0)
    other = groups_of(make_run(variant="full"))
    for draw in (forgetting_utility_figure, time_figure):
        with pytest.raises(BadInput, match="variant"):
            draw([*groups, *other])
        with pytest.raises(BadInput, match="no results"):
            draw([])


def test_no_text_is_cut_off(curves):
    names = ["original", "retrain", "a_rather_long_method_name", "b"]
    scores = dict.fromkeys(("test_accuracy", "forget_accuracy", "retain_accuracy"), 0.5)
    scores |= {"unlearn_seconds": 123456.7, "retrain_time_ratio": 12.345}
    runs = [make_run(name, seed, scores, model="wav2vec2-large") for name in names for seed in range(9)]
    runs[-1] = make_run("b", 8, scores, model="wav2vec2-large", status="diverged")
    runs[-2] = make_run("b", 7, scores, model="wav2vec2-large", status="failed")
    groups = groups_of(*runs)
    for draw in (forgetting_utility_figure, time_figure):
        texts = texts_inside(draw(groups, "Natural Language for Visual Reasoning"))
        assert any("not Natural" in text for text in texts)
        assert any("diverged 1/9, failed 1/9" in text for text in texts)
    assert "a_rather_long_method_name" in texts_inside(
        mia_roc_figure(curves | {"a_rather_long_method_name": curves["scrub"]}, "A long title " * 9)
    )


def test_files_are_pngs_of_reproducible_bytes(tmp_path, groups, curves):
    def save_all(folder):
        return [
            plot_forgetting_utility(groups, folder / "points.png"),
            plot_time(groups, folder / "time.png"),
            plot_mia_roc(curves, folder / "roc.png", "what"),
        ]

    first = save_all(tmp_path / "first")
    # What the user configured neither shows in the pictures nor is changed by them.
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 40, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        second = save_all(tmp_path / "second")
        assert dict(matplotlib.rcParams) == before
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
        chunks = png_chunks(a.read_bytes())
        assert chunks[0] == "IHDR" and chunks[-1] == "IEND" and not {"tEXt", "iTXt", "zTXt", "tIME"} & set(chunks)
    assert first[0].read_bytes() != plot_forgetting_utility(groups[1:], tmp_path / "other.png").read_bytes()
    assert sorted(file.name for file in (tmp_path / "first").iterdir()) == ["points.png", "roc.png", "time.png"]
