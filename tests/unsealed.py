"""Files as an earlier version wrote them, or a person by hand: without a hash of their own content."""

import json

from mubench_hf.utils.sealed import SEAL


def unsealed(text: str) -> str:
    """Return a JSON object without its seal, so that it may be edited."""
    content = json.loads(text)
    content.pop(SEAL, None)
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
