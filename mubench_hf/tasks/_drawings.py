"""Pairs of small drawings, with true or false statements about them. Only whole numbers: the same on every machine."""

from __future__ import annotations

import io

import numpy as np

PIXELS = 32
COLOURS = {"red": (210, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 210), "yellow": (230, 200, 40)}
SHAPES = ("square", "triangle")

Look = tuple[str, str]
"""Colour and shape."""

LOOKS: list[Look] = [(colour, shape) for colour in COLOURS for shape in SHAPES]
STATEMENTS = {
    "The left image shows a {} {}.": lambda look, left, right: look == left,
    "The right image shows a {} {}.": lambda look, left, right: look == right,
}
"""Statement about a look → whether it is true, given the looks of the left and the right image."""


def draw_pair(rng: np.random.RandomState, *, dark: bool) -> tuple[tuple[bytes, bytes], str, bool]:
    """Draw two images, a statement, and whether it is true; both are equally likely, and false ones are near misses.

    Args:
        rng: Stream to draw from. It is advanced.
        dark: Whether the backgrounds are darker than usual.

    Returns:
        The images as BMP files of 32 x 32 pixels, left one first; the statement; its truth.
    """
    statement, holds = list(STATEMENTS.items())[rng.randint(len(STATEMENTS))]
    truth = bool(rng.randint(2))
    left, right = (LOOKS[number] for number in rng.randint(len(LOOKS), size=2))
    near = [look for look in LOOKS if any(look[0] == shown[0] or look[1] == shown[1] for shown in (left, right))]
    fitting = [look for look in near if holds(look, left, right) == truth]
    look = fitting[rng.randint(len(fitting))]
    images = bitmap(drawing(rng, left, dark)), bitmap(drawing(rng, right, dark))
    return images, statement.format(*look), truth


def drawing(rng: np.random.RandomState, look: Look, dark: bool) -> np.ndarray:
    """Return one filled shape of some size and place on a plain background: uint8 ``[height, width, 3]``."""
    colour, shape = look
    radius = rng.randint(6, 11)
    x, y = rng.randint(radius, PIXELS - radius, size=2)
    down, across = np.mgrid[:PIXELS, :PIXELS] - np.array([y, x])[:, None, None]
    inside = {
        "square": np.maximum(abs(across), abs(down)) <= radius * 7 // 8,
        "triangle": (abs(down) <= radius) & (2 * abs(across) <= down + radius),
    }[shape]
    background = rng.randint(110, 160, size=3) if dark else rng.randint(160, 250, size=3)
    ink = np.array(COLOURS[colour]) + rng.randint(-30, 31, size=3)
    return np.where(inside[..., None], ink, background).clip(0, 255).astype(np.uint8)


def bitmap(pixels: np.ndarray) -> bytes:
    """Return uint8 pixels ``[height, width, 3]`` as an uncompressed BMP, which depends on no compression library."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()
