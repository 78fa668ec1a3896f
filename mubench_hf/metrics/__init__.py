"""Unlearning metrics, one file each: a module with a ``DIRECTION``. Others come from outside, see ``get_metric``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.metrics._metric import Metric, describe
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.utils.declarations import Declaration, declared_modules
from mubench_hf.utils.registry import Registry

__all__ = [
    "METRICS",
    "Metric",
    "declared_metrics",
    "get_metric",
    "list_metrics",
    "metric_card_file",
    "metric_file",
    "metrics_by_score",
    "score_metric",
]

_ROOT = Path(__file__).parent


@cache
def declared_metrics() -> Mapping[str, Declaration]:
    """Return what this package's metrics declare, by key, without importing them."""
    return MappingProxyType({each.file.stem: each for each in declared_modules(_ROOT, "DIRECTION")})


@cache
def _own() -> Mapping[str, Callable[[], Metric]]:
    return MappingProxyType({key: partial(_own_metric, key) for key in declared_metrics()})


@cache
def _own_metric(key: str) -> Metric:
    declared = declared_metrics()[key]
    load = partial(import_module, f"{__name__}.{key}")
    return describe(
        declared.constants,
        key=key,
        where=declared.file.name,
        doc=declared.doc,
        load=load,
        declared=declared.functions.get(key),
    )


def _accept(found: object) -> Metric | None:
    if not isinstance(found, ModuleType):
        return found if isinstance(found, Metric) else None
    package, _, name = found.__name__.rpartition(".")
    if package == __name__ and name in declared_metrics():
        return _own_metric(name)
    constants = vars(found)
    where = Path(found.__file__ or name)
    stem = where.parent.name if where.stem == "__init__" else where.stem
    metric = describe(
        constants,
        key=str(constants.get("KEY", stem)),
        where=where.name,
        doc=found.__doc__ or "",
        load=lambda: found,
        default=True,  # Whoever brings or installs a metric asks for it.
    )
    also = {name: key for key in declared_metrics() for name in _own_metric(key).also}
    for score in metric.names:
        if score in also:
            raise BadInput(f"{where.name}: {score!r} is a score of the metric {also[score]}. Choose another name.")
    metric.check({*METRICS.keys(), *also})
    return metric


METRICS: Registry[Metric] = Registry(
    "metric",
    group="mubench_hf.metrics",
    own=_own,
    accept=_accept,
    key=lambda metric: metric.key,
    defined_in=lambda metric: metric.load(),
    whole_modules=True,
)
"""All metrics: those of this package, those that installed packages add, and what was brought to this process."""


def list_metrics() -> list[str]:
    """Return the keys of all registered metrics, sorted."""
    return METRICS.names()


def get_metric(reference: str | Path | ModuleType | Metric) -> Metric:
    """Return a metric.

    Args:
        reference: Its key, its module, ``"package.module"``, ``"path/to/file.py"``, the name of an entry point of the
            group ``mubench_hf.metrics``, or the metric itself.

    Raises:
        BadInput: If there is no such metric (the nearest name is suggested), or what is named is not a complete metric
            (the message says what to add).
    """
    return METRICS.get(reference)


def metric_file(key: str) -> Path:
    """Return the file of one of this package's metrics; ``evaluate.load(str(metric_file(key)))`` loads it.

    Raises:
        BadInput: If this package has no such metric.
    """
    if key not in declared_metrics():
        raise unknown_name("metric of this package", key, declared_metrics())
    return declared_metrics()[key].file


def metric_card_file(key: str) -> Path:
    """Return the file with the card of one of this package's metrics.

    Raises:
        BadInput: If this package has no such metric, or it has no card.
    """
    card = metric_file(key).with_suffix(".md")
    if not card.is_file():
        raise BadInput(f"The metric {key} has no card. Write {card.name} beside {card.stem}.py.")
    return card


def metrics_by_score() -> dict[str, Metric]:
    """Return name of a score, without its split → the metric that returns it, for all metrics known to the process."""
    return {name: metric for metric in map(METRICS.get, METRICS.keys()) for name in metric.names}


def score_metric(score: str, metrics: Mapping[str, Metric]) -> Metric | None:
    """Return the metric that a run's score belongs to: ``test_rouge_1`` to ``rouge_l``; ``None`` if it is unknown.

    Args:
        score: Name of the score.
        metrics: What ``metrics_by_score`` returns.
    """
    split = next((split for split in SPLITS if score.startswith(f"{split}_")), None)
    return metrics.get(score.removeprefix(f"{split}_") if split else score)
