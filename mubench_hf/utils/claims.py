"""Claims: one process at a time has the right to work on something, and a lost one's are free.

A claim is a small file that appears whole or not at all. Whether its holder is alive, its own machine's kernel says:
the file stays locked until the process ends, however it ends. From another machine, where such locks may not be seen,
its heartbeat says so. Clocks of two machines are never compared.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import threading
import time
import uuid
from _thread import interrupt_main
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: heartbeats alone.
    fcntl = None  # type: ignore[assignment]

BEAT, EXPIRY = 15.0, 180.0
"""Seconds between a claim's heartbeats, and without one until it is lost; a network file system may hide one for 60."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_held: dict[Path, Claim] = {}
_beating: threading.Thread | None = None
_seen: dict[Path, tuple[object, float]] = {}
"""Claim of another machine → its last heartbeat, and when that was first seen here."""


class Claim:
    """The right to work on something, which one process at a time has.

    Args:
        path: The file that stands for it; its folder is there.
    """

    def __init__(self, path: Path):
        self.path, self.lost = Path(os.path.abspath(path)), False
        self._file = -1
        self._thread = threading.current_thread()
        # A heartbeat beside a release would take the file that has just gone for lost.
        self._one_at_a_time = threading.Lock()

    def take(self) -> bool:
        """Take it if it is free, or its holder is lost; return whether this process has it now.

        Raises:
            OSError: If no file can be written there.
        """
        if os.path.lexists(self.path) and not _take_away_if_lost(self.path):
            return False
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        file = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        try:
            _describe(file)
            try:
                os.link(part, self.path)  # Atomic also where O_EXCL is not, and the file is whole and locked by then.
            except FileExistsError:
                os.close(file)
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    os.close(file)
                    raise
                os.close(file)
                try:
                    file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
                except FileExistsError:
                    return False
                _describe(file)
        finally:
            part.unlink(missing_ok=True)
        self._file, self.lost, self._thread = file, False, threading.current_thread()
        _held[self.path] = self
        _start_beating()
        return True

    def release(self) -> None:
        """Give it up; the file is gone afterwards, unless another process has it by now."""
        with self._one_at_a_time:
            _held.pop(self.path, None)
            if self._is_mine():
                self.path.unlink(missing_ok=True)
            os.close(self._file)

    def beat(self) -> None:
        """Show that its holder is alive; where another process took it, this one stops at the next chance."""
        with self._one_at_a_time:
            if self.lost or _held.get(self.path) is not self:
                return
            if self._is_mine():
                with suppress(OSError):  # A server may be away for a while.
                    os.utime(self._file if os.utime in os.supports_fd else self.path)
            else:
                self.lost = True
                if self._thread is threading.main_thread():
                    _interrupt_main_thread()

    def _is_mine(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False
        except OSError:
            return True  # Not known: the server is away.


def _interrupt_main_thread() -> None:
    """Stop what the main thread does, as Ctrl-C would."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # Under nohup, for example: it would not hear of it.
        main = ctypes.c_ulong(threading.main_thread().ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(KeyboardInterrupt))
    else:
        interrupt_main()


def is_held_here(path: Path) -> bool:
    """Return whether this process has a claim."""
    return path in _held


def is_alive(path: Path) -> bool:
    """Return whether a claim is held, as far as can be seen."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not _is_lost(path, file, os.fstat(file))
    finally:
        os.close(file)


def holder_of(path: Path) -> str:
    """Return who holds a claim, in words."""
    note = _note(path)
    try:
        return f"process {note['process']} on {note['host']} since {note['since']}"
    except KeyError:
        return "another process"


def _describe(file: int) -> None:
    """Lock a new claim's file for as long as this process lives, and write into it who that is."""
    note = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": _machine(),
        "locked": _lock(file),
    }
    os.write(file, json.dumps(note).encode())


def _take_away_if_lost(path: Path) -> bool:
    """Remove a claim if its holder is lost; return whether it is gone."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        about = os.fstat(file)
        if not _is_lost(path, file, about):
            return False
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            if not os.path.samestat(os.stat(path), about):
                return False
            os.rename(path, aside)
        except FileNotFoundError:
            return True
        lost = os.path.samestat(os.stat(aside), about)
        if not lost:  # Another process was quicker, and this is its claim.
            with suppress(OSError):  # Its holder notices at the next heartbeat, and stops.
                os.link(aside, path)
        aside.unlink(missing_ok=True)
        return lost
    finally:
        os.close(file)


def _is_lost(path: Path, file: int, about: os.stat_result) -> bool:
    note = _note(path)
    if note.get("locked", fcntl is not None) and note.get("machine", _machine()) == _machine():
        return _lock(file)
    beat = (about.st_dev, about.st_ino, about.st_mtime_ns)
    if _seen.get(path, (None, 0.0))[0] != beat:
        _seen[path] = (beat, time.monotonic())
    return time.monotonic() - _seen[path][1] > EXPIRY


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return note if isinstance(note, dict) else {}
    except (OSError, ValueError):
        return {}


def _lock(file: int) -> bool:
    """Lock an open file until it is closed; return whether that worked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@cache
def _machine() -> str:
    """Return what this machine is called, until it starts again."""
    try:
        return f"{socket.gethostname()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except OSError:
        return socket.gethostname()


def _start_beating() -> None:
    global _beating
    if _beating is None or not _beating.is_alive():  # A forked process has none.
        _beating = threading.Thread(target=_beat_for_ever, name="heartbeat", daemon=True)
        _beating.start()


def _beat_for_ever() -> None:
    never = threading.Event()
    while not never.wait(BEAT):
        for claim in list(_held.values()):
            claim.beat()
