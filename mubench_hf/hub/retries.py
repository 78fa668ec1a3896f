"""Requests to a Hub that may be busy or out of reach: tried again a bounded number of times, then one clear line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container
from typing import Any, TypeVar

from mubench_hf.errors import BadInput

BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers that ask to try again later."""

ATTEMPTS, NETWORK_ATTEMPTS = 12, 4
"""Tries of one request that is answered ``BUSY``, and of one that gets no answer; of a download, the latter and one."""

LONGEST_WAIT = 8.0
"""Seconds at most between two tries."""

Answer = TypeVar("Answer")


class Retries:
    """How requests to one Hub are tried again.

    Args:
        endpoint: Address of the Hub, for messages.
        wait: Seconds before the second try; each further wait is twice as long, up to ``LONGEST_WAIT``.
    """

    def __init__(self, endpoint: str, wait: float = 0.5):
        self.endpoint, self.wait = endpoint, wait

    def ask(self, call: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
        """Call something that may be repeated, until it is answered, and return its answer.

        Raises:
            BadInput: If no try was answered.
        """
        tries = Tries(self)
        while True:
            try:
                return call(*args, **kwargs)
            except transient() as error:
                tries.again(error)


class Tries:
    """Counts the tries of one thing: those that a busy Hub answered, and those that got no answer."""

    def __init__(self, retries: Retries):
        self.retries, self.busy, self.silent = retries, 0, 0

    def again(self, error: Exception, also: Container[int] = ()) -> None:
        """Wait after a failed try.

        Args:
            error: What the try ended with.
            also: Statuses beside ``BUSY`` that are worth another try.

        Raises:
            BadInput: If that was the last try.
            Exception: ``error``, if another try would end the same.
        """
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

        if isinstance(error, OfflineModeIsEnabled):
            raise BadInput("HF_HUB_OFFLINE is set, so the Hub cannot be asked. Unset it.") from error
        if isinstance(error, HfHubHTTPError) and status_of(error) not in BUSY and status_of(error) not in also:
            raise error
        # A failed download is told of as a file that the cache lacks; the client has tried again for half a minute.
        download = isinstance(error, LocalEntryNotFoundError)
        # A page in place of JSON is what a busy Hub shows.
        if isinstance(error.__cause__ if download else error, HfHubHTTPError | json.JSONDecodeError):
            self.busy += 1
            tries, limit = self.busy, NETWORK_ATTEMPTS if download else ATTEMPTS
        else:
            self.silent += 1
            tries, limit = self.silent, 1 if download else NETWORK_ATTEMPTS
        if tries >= limit:
            count = "1 try" if tries == 1 else f"{tries} tries"
            where = f"The Hub at {self.retries.endpoint} cannot be reached, after {count}"
            raise refusal(where, error) from error
        time.sleep(min(self.retries.wait * 2 ** (tries - 1), LONGEST_WAIT))


def transient() -> tuple[type[Exception], ...]:
    """Return what a request can end with that another try may mend."""
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    return (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, json.JSONDecodeError)


def status_of(error: Any) -> int | None:
    """Return the status of the answer behind an error, ``None`` where there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def refusal(what: str, error: Exception) -> BadInput:
    """Return an error that says in one line what cannot be done and why."""
    reasons = {401: "the token is not accepted", 403: "the token has no right to write there"}
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = reasons.get(status_of(error)) or (lines[0] if lines else type(error).__name__)
    return BadInput(f"{what}: {reason.rstrip('.')}.")
