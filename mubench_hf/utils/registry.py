"""Registries that anyone can extend: the package's own things, installed ones, and those that a person brings."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from mubench_hf.errors import BadInput, unknown_name

T = TypeVar("T")

SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Pattern of a key: files and Hub repositories are named after it."""


@dataclass(frozen=True)
class Origin:
    """Where a thing from outside the package comes from; it is recorded with every run that uses the thing.

    Attributes:
        name: ``package.module:Name`` or ``file.py:Name``; never a path, which would tell something about the machine.
        sha256: Hash of the source file that defines it.
    """

    name: str
    sha256: str


class Registry(Generic[T]):
    """Things that are found by their key and can be brought from outside.

    Args:
        what: Kind of thing, for messages: ``method``.
        group: Entry point group through which installed packages add theirs: ``mubench_hf.methods``.
        own: Returns key → loader of what the package ships. It is called at the first use and imports nothing heavy.
        accept: Returns the thing that an object is or stands for, or ``None`` if it is not one.
        key: Returns a thing's key.
        defined_in: Returns the class, function or module whose source file is hashed for a thing.
        origin_of: Returns the origin of a thing that knows it itself, because no source file defines it.
        aliases: Returns other names of the package's own things: alias → key.
        reserved: Keys that nothing may have.
        whole_modules: Whether a thing is a whole module, so that ``package.module`` and ``file.py`` name one.
    """

    def __init__(
        self,
        what: str,
        *,
        group: str,
        own: Callable[[], Mapping[str, Callable[[], T]]],
        accept: Callable[[object], T | None],
        key: Callable[[T], str],
        defined_in: Callable[[T], Any] = lambda thing: thing,
        origin_of: Callable[[T], Origin | None] = lambda thing: None,
        aliases: Callable[[], Mapping[str, str]] = dict,
        reserved: tuple[str, ...] = (),
        whole_modules: bool = False,
    ):
        self.what, self.group, self.aliases, self.reserved = what, group, aliases, reserved
        self.whole_modules = whole_modules
        self._own, self._accept, self._key, self._defined_in = own, accept, key, defined_in
        self._origin_of = origin_of
        self._brought: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}

    def names(self) -> list[str]:
        """Return the keys of the package's own things and of those that installed packages add, sorted."""
        return sorted({*self._own(), *self._installed()})

    def keys(self) -> list[str]:
        """Return ``names`` and the keys of what was brought to this process, sorted."""
        return sorted({*self.names(), *self._brought})

    def get(self, reference: object) -> T:
        """Return the thing that ``reference`` is or names.

        Args:
            reference: A key, an alias, the thing itself, ``"package.module:Name"`` or ``"path/to/file.py:Name"``. The
                name may be left out if the file declares only one thing.

        Raises:
            BadInput: If nothing has that name (the nearest one is suggested), or if what is named cannot be imported,
                is something else, or has the key of one of the package's own things.
        """
        if not isinstance(reference, str | Path):
            return self._bring(reference, origin=None)
        name = str(reference)
        if name in self._own():
            return self._own()[name]()
        if name in self.aliases():
            return self.get(self.aliases()[name])
        if name in self._brought:
            return self._brought[name]
        if name in (installed := self._installed()):
            point = installed[name]
            return self._bring(self._load_installed(point), origin=point.value, key=name, source=point.module)
        if ":" in name or name.endswith(".py") or (self.whole_modules and "." in name):
            found, origin, module = self._load_named(name)
            return self._bring(found, origin, source=module)
        raise unknown_name(
            self.what,
            name,
            self.keys(),
            aliases=self.aliases(),
            how=f"Or bring your own: {self._places()}, or an entry point of {self.group}.",
        )

    def check(self, reference: object) -> None:
        """Check that ``get`` knows a reference, without loading the package's own things.

        Raises:
            BadInput: As ``get`` does.
        """
        if not isinstance(reference, str) or (reference not in self._own() and reference not in self.aliases()):
            self.get(reference)

    def knows(self, name: str) -> bool:
        """Return whether ``get`` finds something under a key."""
        return name in self._own() or name in self._brought or name in self._installed()

    def owns(self, name: str) -> bool:
        """Return whether a key belongs to one of the package's own things."""
        return name in self._own()

    def origin(self, thing: T) -> Origin | None:
        """Return where a thing comes from; ``None`` for one of the package's own things."""
        return self._origins.get(self._key(thing)) if not self.owns(self._key(thing)) else None

    # Bringing ---------------------------------------------------------------------------------------------------------

    def _bring(self, found: object, origin: str | None, key: str | None = None, source: str | None = None) -> T:
        """Return the thing that an object is, and remember it under its key.

        Args:
            found: The object.
            origin: How it was named; ``None`` if the object itself was given.
            key: The key that it must have.
            source: Module that declares it; ``None`` if only the object can tell.
        """
        thing = self._accept(found)
        if thing is None:
            raise BadInput(f"{origin or repr(found)} is no {self.what}. Allowed: a key, or {self._article()} itself.")
        own, name = self._own(), self._key(thing)
        if name in own:
            if own[name]() is thing:
                return thing
            raise BadInput(
                f"{origin or _full_name(self._defined_in(thing))} has the key {name!r}, one of this package's. "
                f"Give your {self.what} a key of its own."
            )
        if not SAFE_KEY.fullmatch(name) or name in self.reserved:
            raise BadInput(
                f"{name!r} cannot be the key of a {self.what}. Allowed: letters, digits, '.', '_' and '-', a letter or "
                f"digit first{', and not ' + ' or '.join(self.reserved) if self.reserved else ''}."
            )
        if key is not None and key != name:
            raise BadInput(f"The entry point {key!r} of {self.group} leads to a {self.what} whose key is {name!r}.")
        defined = sys.modules[source] if source else self._defined_in(thing)
        self._brought[name] = thing
        said = self._origin_of(thing)
        self._origins[name] = said or Origin(origin or _full_name(defined), source_sha256(defined))
        return thing

    def _installed(self) -> dict[str, metadata.EntryPoint]:
        """Return the entry points of the group by name, without those that have the key of one of the package's own."""
        found = {}
        for point in _entry_points(self.group, _places()):
            if point.name in self._own():
                warnings.warn(
                    f"The entry point {point.name!r} ({point.value}) of {self.group} has the key of one of this "
                    f"package's and is not used. Its package should give it another name.",
                    stacklevel=3,
                )
            else:
                found[point.name] = point
        return found

    def _load_installed(self, point: metadata.EntryPoint) -> object:
        try:
            return point.load()
        except Exception as error:
            raise BadInput(
                f"The installed {self.what} {point.name!r} ({point.value}) cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _load_named(self, reference: str) -> tuple[object, str, str]:
        """Return what ``module:Name`` or ``file.py[:Name]`` names, how it is recorded, and the module's name."""
        place, _, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
        if place.endswith(".py"):
            module, shown = _import_file(Path(place)), Path(place).name
        else:
            module, shown = _import_module(place), place
        if self.whole_modules:
            if name:
                raise BadInput(f"{self._article().capitalize()} is a whole module. Leave out ':{name}' of {reference}.")
            return module, shown, module.__name__
        if not name:
            name = self._only_name(module, shown)
        if name and not hasattr(module, name):
            raise BadInput(f"{shown} has no {name!r}. It declares: {', '.join(self._names_in(module)) or 'nothing'}.")
        found = (getattr(module, name), f"{shown}:{name}") if name else (module, shown)
        return *found, module.__name__

    def _only_name(self, module: ModuleType, shown: str) -> str:
        """Return the name of the one thing that a module declares; empty if the module itself is the thing."""
        if self._accept(module) is not None:
            return ""
        names = self._names_in(module)
        if len(names) != 1:
            found = ", ".join(names) or "none"
            raise BadInput(f"{shown} declares {len(names)} {self.what}s ({found}). Say which one: {shown}:Name")
        return names[0]

    def _names_in(self, module: ModuleType) -> list[str]:
        """Return the names of the things that a module declares itself, without those that it imports."""
        return [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and self._accept(value) is not None
            and (not isinstance(value, type) or value.__module__ == module.__name__)
        ]

    def _places(self) -> str:
        name = "" if self.whole_modules else ":Name"
        return f"package.module{name}, path/to/file.py{name}"

    def _article(self) -> str:
        return f"{'an' if self.what[0] in 'aeiou' else 'a'} {self.what}"


def _places() -> tuple[tuple[str, int], ...]:
    """Return where packages are looked for, with the time of each place's last change: an installation changes one."""
    return tuple((place, os.stat(place or ".").st_mtime_ns) for place in sys.path if os.path.exists(place or "."))


@lru_cache(maxsize=16)
def _entry_points(group: str, places: tuple[tuple[str, int], ...]) -> tuple[metadata.EntryPoint, ...]:
    """Return a group's entry points, which are read from the files of every installed package, so once per places."""
    return tuple(metadata.entry_points(group=group))


def source_sha256(defined: Any) -> str:
    """Return the SHA-256 of the file in which a class, function or module is defined.

    Code typed into an interpreter has no file: its text, or else its compiled code, is hashed instead.
    """
    try:
        file = inspect.getsourcefile(defined)
        if file and Path(file).is_file():
            return hashlib.sha256(Path(file).read_bytes()).hexdigest()
        return hashlib.sha256(inspect.getsource(defined).encode()).hexdigest()
    except (OSError, TypeError):
        return hashlib.sha256(b"".join(_code(defined))).hexdigest()


def _code(defined: Any) -> list[bytes]:
    """Return the compiled code of a function, or of the functions of a class, by name."""
    members = vars(defined) if isinstance(defined, type) else {"": defined}
    functions = {name: getattr(value, "__code__", None) for name, value in sorted(members.items())}
    return [name.encode() + code.co_code + repr(code.co_consts).encode() for name, code in functions.items() if code]


def _full_name(defined: Any) -> str:
    if isinstance(defined, ModuleType):
        return defined.__name__
    module = getattr(defined, "__module__", None) or getattr(defined, "__name__", "?")
    return f"{module}:{getattr(defined, '__qualname__', type(defined).__name__)}"


def _import_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise BadInput(f"The module {name!r} cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(file: Path) -> ModuleType:
    """Import a file under a unique name; a file that has not changed is imported only once."""
    if not file.is_file():
        raise BadInput(f"There is no file {file}.")
    digest = hashlib.sha256(str(file.resolve()).encode() + file.read_bytes()).hexdigest()[:12]
    stem = re.sub(r"\W", "_", file.stem)
    name = f"mubench_external_{digest}_{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BadInput(f"{file} is no Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses and pickles look a class's module up by its name.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise BadInput(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module
