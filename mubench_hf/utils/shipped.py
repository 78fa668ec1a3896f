"""Files that come with the package without being code of it: card templates and the Spaces' apps."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template


def shipped_folder(name: str) -> Path:
    """Return a folder of an installed package, or of the checkout that this is: ``model_cards`` or ``spaces``."""
    package = Path(str(files("mubench_hf")))
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


def template(name: str) -> Template:
    """Return a card template of ``model_cards``."""
    return Template((shipped_folder("model_cards") / name).read_text(encoding="utf-8"))
