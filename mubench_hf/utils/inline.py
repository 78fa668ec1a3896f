"""Content that travels inside a page, so that a server hands out no files."""

from __future__ import annotations

import base64


def data_url(medium: str, content: bytes) -> str:
    """Return an address that holds the content itself.

    Args:
        medium: Its media type, ``image/png``.
        content: The content.
    """
    return f"data:{medium};base64,{base64.b64encode(content).decode()}"
