"""Unlearning metrics: one `evaluate` module a folder, found by the folder's name."""

import importlib
from pathlib import Path
from types import ModuleType

from mubench_hf.errors import unknown_name

__all__ = ["get_metric", "list_metrics", "metric_folder"]

_ROOT = Path(__file__).parent


def list_metrics() -> list[str]:
    """Names of all metrics, sorted: the folders here that hold `<name>/<name>.py`."""
    return sorted(folder.name for folder in _ROOT.iterdir() if (folder / f"{folder.name}.py").is_file())


def metric_folder(name: str) -> Path:
    """Folder of one metric; `evaluate.load(str(metric_folder(name)))` loads it.

    Raises:
        BadInput: if no metric has this name; the message suggests the nearest one and lists all.
    """
    if name not in list_metrics():
        raise unknown_name("metric", name, list_metrics())
    return _ROOT / name


def get_metric(name: str) -> ModuleType:
    """Module of one metric, with its pure function `<name>` and `DIRECTION`, `RANGE`, `SOURCE`.

    Raises:
        BadInput: if no metric has this name; the message suggests the nearest one and lists all.
    """
    metric_folder(name)
    return importlib.import_module(f"{__name__}.{name}.{name}")
