"""Forgetting against utility as an SVG: one numbered point a method, whose numbers show when it is pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mubench_hf.leaderboard.board import Row, TableKey
from mubench_hf.leaderboard.views import points
from mubench_hf.tasks import get_task

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 420, 360, 62, 52, 16
COLORS = ("#56b4e9", "#e69f00", "#00b386", "#e08bbd", "#f0783c", "#e3d329", "#a3a3a3", "#8fb5ff")
"""Told apart by most people with a colour deficiency, and light enough for a black number on them."""


def plot_html(key: TableKey, rows: Sequence[Row]) -> str:
    """Return the plot of a table's rows and the list of its numbers."""
    found, metric = points(rows), get_task(key.task).metric
    if not found:
        return '<p class="mb-message" role="status">No method of this table has the scores that the plot shows.</p>'
    x_axis, y_axis = (_Axis([point[name] for point in found]) for name in ("forget", "test"))
    places = [
        (LEFT + x_axis.share(point["forget"]) * (WIDTH - LEFT - EDGE),
         HEIGHT - BOTTOM - y_axis.share(point["test"]) * (HEIGHT - BOTTOM - EDGE))
        for point in found
    ]  # fmt: skip
    texts = [f"{point['title']}: D_f {point['forget']:.3f}, test {point['test']:.3f}" for point in found]
    parts = [*_grid(x_axis, y_axis), *_bands(found, x_axis, y_axis), *_reference(found, places)]
    for number, ((x, y), text, point) in enumerate(zip(places, texts, found, strict=True), start=1):
        parts.append(
            f'<g tabindex="0" role="img" aria-label="{escape(text)}" data-method="{escape(point["method"])}">'
            f'<title>{escape(text)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{_color(number)}" '
            f'fill-opacity="0.9" stroke="currentColor"/><text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" '
            f'font-size="12" font-weight="700" fill="#000">{number}</text></g>'
        )
    middle = f'x="{-(HEIGHT - BOTTOM) / 2}" y="14" transform="rotate(-90)"'
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" {_STYLE}>{metric} on D_f (best: at retrain)</text>')
    parts.append(f"<text {middle} {_STYLE}>{metric} on the test set ↑</text>")
    title = f"Forgetting and utility on {key.task}, {key.variant} data: {'; '.join(texts)}"
    legend = "".join(
        f'<li><b style="background:{_color(number)}" aria-hidden="true">{number}</b>{escape(text)}</li>'
        for number, text in enumerate(texts, start=1)
    )
    return (
        f'<div class="mb-plot"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg><ol>{legend}</ol></div>"
    )


_STYLE = 'text-anchor="middle" font-size="14" fill="currentColor"'


class _Axis:
    """Range of some values with a margin, and five ticks in it."""

    def __init__(self, values: Sequence[float]):
        spread = (max(values) - min(values)) or 0.1
        self.low, self.high = min(values) - 0.08 * spread, max(values) + 0.08 * spread
        self.ticks = [self.low + (self.high - self.low) * (step + 0.5) / 5 for step in range(5)]

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    lines = []
    for tick in x_axis.ticks:
        x = LEFT + x_axis.share(tick) * (WIDTH - LEFT - EDGE)
        lines.append(_line(x, EDGE, x, HEIGHT - BOTTOM))
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" {_STYLE}>{tick:.3f}</text>')
    for tick in y_axis.ticks:
        y = HEIGHT - BOTTOM - y_axis.share(tick) * (HEIGHT - BOTTOM - EDGE)
        lines.append(_line(LEFT, y, WIDTH - EDGE, y))
        text = f'x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="14" fill="currentColor"'
        lines.append(f"<text {text}>{tick:.3f}</text>")
    return lines


def _bands(found: Sequence[dict], x_axis: _Axis, y_axis: _Axis) -> list[str]:
    """Return bands around the retrained model: as far as two of different seeds lie apart."""
    point = next((point for point in found if point["method"] == "retrain"), {})
    width, height, bands = WIDTH - LEFT - EDGE, HEIGHT - BOTTOM - EDGE, []
    for name, axis in (("forget", x_axis), ("test", y_axis)):
        if f"{name}_floor" in point:
            ends = (point[name] - point[f"{name}_floor"], point[name] + point[f"{name}_floor"])
            low, high = (min(1.0, max(0.0, axis.share(end))) for end in ends)
            x, y, w, h = LEFT + low * width, float(EDGE), (high - low) * width, float(height)
            if name == "test":
                x, y, w, h = float(LEFT), EDGE + (1 - high) * height, float(width), (high - low) * height
            place = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"'
            bands.append(f'<rect {place} fill="currentColor" fill-opacity="0.08"/>')
    return bands


def _reference(found: Sequence[dict], places: Sequence[tuple[float, float]]) -> list[str]:
    """Return dashed lines that cross at the retrained model."""
    for point, (x, y) in zip(found, places, strict=True):
        if point["method"] == "retrain":
            return [_line(x, EDGE, x, HEIGHT - BOTTOM, dashed=True), _line(LEFT, y, WIDTH - EDGE, y, dashed=True)]
    return []


def _line(x: float, y: float, to_x: float, to_y: float, dashed: bool = False) -> str:
    look = 'stroke-dasharray="6 4" stroke-opacity="0.9"' if dashed else 'stroke-opacity="0.15"'
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="currentColor" {look}/>'


def _color(number: int) -> str:
    return COLORS[(number - 1) % len(COLORS)]
