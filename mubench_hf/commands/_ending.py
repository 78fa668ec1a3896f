"""How a command ends: what a person can act on is one line on standard error and an exit code, never a traceback."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import requires
from pathlib import Path
from types import FrameType
from typing import Any

from mubench_hf.errors import BadInput, shown
from mubench_hf.utils.files import disk_is_full

SILENT = ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao")
"""Loggers that say, where `torchao` is installed and a library imports it, which of its kernels are not for here."""

GOES_ON = "What was finished before is kept. Give the same command again; it goes on from there."

DENIED = "Choose a folder that you may write to, or change the rights of this one, and give the same command again."
OTHER_PATH = "Choose another file or folder."
PATHS = {
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: DENIED,
    errno.EEXIST: OTHER_PATH,
    errno.EISDIR: OTHER_PATH,
    errno.ELOOP: OTHER_PATH,
    errno.ENAMETOOLONG: OTHER_PATH,
    errno.ENOENT: OTHER_PATH,
    errno.ENOTDIR: OTHER_PATH,
}
"""What an operating system may answer about a path → what to do."""

IN_WORDS = re.compile(r'(?P<reason>[\w ]+) \(os error (?P<number>\d+)\)(?: at path "(?P<path>.*)")?')
"""How an error of `safetensors` says what the operating system answered."""


_OF_EXTRA = re.compile(r"([\w.-]+).*extra == ['\"](\w+)['\"]")
"""A requirement of an extra, as the package's metadata write it."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; it is cleaned up after as after Ctrl-C."""


def exit_with(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Call ``main`` with the command line, and end with one line on standard error where a person can act on an error.

    Raises:
        SystemExit: With code 2 on bad input, and where disk, rights, network or a package are missing; with 130 after
            Ctrl-C, and with 143 after SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    code = 2
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.ERROR)
    with _terminable():
        try:
            check_words(argv)
            main(argv)
            if sys.stdout is not None:
                sys.stdout.flush()
            return
        except BrokenPipeError:  # A reader that has seen enough, such as head, is no error.
            _leave_stdout()
            return
        except KeyboardInterrupt as error:
            _ignore_further_interrupts()
            code, line = (143, "Terminated") if isinstance(error, Terminated) else (130, "Interrupted")
            line = f"{line}. {GOES_ON}"
        except Exception as error:
            found = line_of(error)
            if found is None:
                raise
            line = found
            if disk_is_full(error):
                _leave_stdout()
    if int(os.environ.get("RANK", 0)) == 0:
        print(f"mubench: {shown(line)}", file=sys.stderr)
    else:
        _tell_launcher(f"mubench: {shown(line)}")
    raise SystemExit(code)


def line_of(error: BaseException) -> str | None:
    """Return what to tell a person about an error; ``None`` for one that only a programmer can do something about."""
    if isinstance(error, BadInput):
        return str(error)
    if disk_is_full(error):
        return f"The disk is full: {error}. {GOES_ON.replace('Give', 'Make room and give')}"
    chain = list(_chain(error))
    of_the_hub = any(type(each).__module__.startswith("huggingface_hub.") for each in chain)
    if of_the_hub and isinstance(error, OSError | ValueError):  # Other errors are mistakes made while handling these.
        return (
            f"The Hub did not give what was asked for: {error} Check the name and the network, and whether "
            "HF_HUB_OFFLINE is set. Where there is a mini source, --mini needs no network."
        )
    for each in chain:
        if isinstance(each, ModuleNotFoundError) and each.name and not each.name.startswith("mubench_hf"):
            package = each.name.partition(".")[0]
            return f"This needs the package {package!r}, which is not installed. Run: pip install {_offered(package)}"
        if found := _path_error(each):
            number, path, reason = found
            return f"{path}: {reason}. {PATHS[number]}"
    return None


def check_words(argv: Sequence[str]) -> None:
    """Check what no command can use: words that are empty, no text, or flags that are given twice.

    Raises:
        BadInput: Naming the first of them.
    """
    seen: dict[str, str] = {}
    for place, word in enumerate(argv):
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        before = argv[place - 1] if place and argv[place - 1].startswith("--") else "An argument"
        if not value and (equals or not flag):
            raise BadInput(f"{flag or before} is empty. Leave it out, or give it a value.")
        if equals and value == "--":  # argparse would take it for the end of the flags, and the value for missing.
            raise BadInput(f"{word} gives no value. Leave {flag} out, or give it one.")
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in word):
            raise BadInput(f"{word!r} is no text that a file's name or a setting can hold. Spell it in UTF-8.")
        name = flag.replace("-", "_").removeprefix("__").removeprefix("no_")
        if name in seen:
            twice = flag if seen[name] == flag else f"{seen[name]} and {flag}"
            raise BadInput(f"{twice}: given twice, and only one can be meant. Leave one out.")
        if name:
            seen[name] = flag


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _path_error(error: BaseException) -> tuple[int, str, str] | None:
    """Return the number, the path and the words of what the operating system answered about a path."""
    if isinstance(error, OSError) and error.errno in PATHS and error.filename is not None:
        return error.errno, str(error.filename), error.strerror or os.strerror(error.errno)
    said = IN_WORDS.search(str(error))
    if said and said["path"] and int(said["number"]) in PATHS:
        return int(said["number"]), said["path"], said["reason"].strip()
    return None


def _offered(package: str) -> str:
    """Return what to install for a package: the extra of this one that brings it, else the package itself."""
    extras = [found.groups() for each in requires("mubench_hf") or () if (found := _OF_EXTRA.match(each))]
    sizes = Counter(extra for _, extra in extras)
    bringing = [extra for name, extra in extras if name == package]
    return f"'mubench_hf[{min(bringing, key=sizes.__getitem__)}]'" if bringing else package


def _tell_launcher(line: str) -> None:
    """Leave a line where ``torchrun`` and ``accelerate launch`` read why a process failed; the first prints it.

    If all fail for one reason, it is said once; if another alone does, the launcher says it.
    """
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        note = {"message": {"message": line, "extraInfo": {"timestamp": str(int(time.time()))}}}
        with suppress(OSError):
            Path(file).write_text(json.dumps(note), encoding="utf-8")


def _ignore_further_interrupts() -> None:
    """Let an impatient person's second Ctrl-C not end in a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave_stdout() -> None:
    """Let the interpreter end without trying once more to write what could not be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this process, though not those that it starts, as Ctrl-C does: with its cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN if os.getpid() == owner else signal.SIG_DFL)
        if os.getpid() == owner:
            raise Terminated
        os.kill(os.getpid(), number)

    before: Any = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
