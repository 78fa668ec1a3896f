"""Files that are shipped with the package but are not part of its code: card templates and the Spaces' apps."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template


def shipped_folder(name: str) -> Path:
    """Return the folder ``model_cards`` or ``spaces`` of the installed package, or of the checkout this runs from."""
    package = Path(str(files("mubench_hf")))
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


def template(name: str) -> Template:
    """Return a card template of ``model_cards``."""
    return Template((shipped_folder("model_cards") / name).read_text(encoding="utf-8"))
