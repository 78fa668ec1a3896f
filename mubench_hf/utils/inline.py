"""Content embedded in a page, so that a server need not hand out files."""

from __future__ import annotations

import base64


def data_url(medium: str, content: bytes) -> str:
    """Return a ``data:`` URL that holds the content itself.

    Args:
        medium: Its media type, such as ``image/png``.
        content: The content.
    """
    return f"data:{medium};base64,{base64.b64encode(content).decode()}"
