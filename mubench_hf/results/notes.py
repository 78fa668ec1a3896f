"""The lines below a table: how to read it, what is not comparable, what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mubench_hf.results.aggregate import Group
from mubench_hf.results.columns import COMPUTE, Column
from mubench_hf.results.gap import GAP, column_sample, floor_of, is_of_pair
from mubench_hf.results.grid import MISSING, printable
from mubench_hf.results.uncertainty import METHOD, METHOD_OF_SEEDS
from mubench_hf.trainers import declared_methods

REASON_LENGTH = 100

FLOOR = "mean absolute difference over all pairs of seeds"
ONE_SEED = "two retrained models of different seeds would show what a seed does, and there is one"


def table_notes(
    groups: Sequence[Group], title: str | None, metric: str | None, columns: Sequence[Column]
) -> Iterator[str]:
    """Yield the lines below a table of one list of ``aggregate``."""
    if groups[0].variant == "mini":
        yield f"Mini data, not {title or groups[0].task}: numbers show that the code runs, not how well a method works."
    yield (
        f"D_Test, D_f, D_r: {metric or 'main score'} on test, deletion and remaining set. "
        "Mean ±sample standard deviation over seeds; signed: mean over seeds of the difference to the retrained model "
        "of the same seed. → closest to retrain is best."
    )
    yield from _floors(groups, metric, columns)
    counts = [(group.score(column.score_key(metric)).count, len(group.seeds)) for group in groups for column in columns]
    if any(0 < count < seeds for count, seeds in counts):
        yield "n/m: a mean over n of m seeds, which is not compared with means over all."
    if not any(group.retrained for group in groups):
        yield "No retrained model to compare with, so → columns have no best method."
    most = max(len(group.seeds) for group in groups)
    for group in groups:
        if len(group.seeds) < most:
            yield f"{group.label}: {len(group.seeds)} of {most} seeds."
        if group.status != "ok":
            shown = "no scores" if group.averaged == "failed" else f"means over {group.averaged} runs"
            yield f"{group.label} {group.status} ({shown}): {_short('; '.join(group.status_reasons))}"
    if unknown := [printable(column.header) for column in columns if column.direction is None]:
        yield f"{', '.join(unknown)}: of no metric known here, so nothing says what is best."
    yield from _machines(groups)
    yield from _caveats(groups)
    yield from _missing(groups, metric, columns)


def _floors(groups: Sequence[Group], metric: str | None, columns: Sequence[Column]) -> Iterator[str]:
    """Yield how the gap, its interval and the floor are made, and what is bold."""
    gap = next((column for column in columns if column.key == GAP), None)
    retrained = [group for group in groups if group.method == "retrain"]
    has_floor = any(floor_of(group.samples, column, metric)[1] for group in retrained for column in columns)
    found = [column_sample(group, gap, metric) for group in groups] if gap else []
    samples = [sample for sample, group in zip(found, groups, strict=False) if sample and group.method != "retrain"]
    several = [sample for sample in samples if len(sample.values) > 1]
    if samples:
        yield (
            "Gap: mean over seeds of each run's average absolute difference to its retrained model, which is at least "
            "the difference of the means" + ("; the table by seed has the values." if several else ".")
        )
    if several:
        drawn = all(sample.drawn() is not None for sample in several)
        yield f"[95 % interval]: {METHOD if drawn else METHOD_OF_SEEDS}."
    if retrained and not has_floor:
        yield f"No floor, and nothing is bold: {ONE_SEED}."
    if has_floor:
        yield (
            f"~ floor, in retrain's row (its Gap is one): two retrained models' {FLOOR}. Bold: best methods. "
            "Two are told apart if their means differ by more than the floor, and the 95 % interval of the difference "
            "over seeds does not hold 0; all that a chain of pairs that are not told apart leads to share a rank and "
            "the bold."
        )
    pairs = [printable(column.header) for column in columns if column.key != GAP and is_of_pair(column.key)]
    if pairs and has_floor:
        yield f"{', '.join(pairs)}: compared with the retrained model themselves, so they have no floor and no bold."
    if any(COMPUTE in group.samples for group in groups):
        yield (
            "Seconds: on the wall, never bold. CPU/GPU s: processor seconds of all processes, of GPUs where there are "
            "some; × retrain: their ratio. Both are bold by the interval alone, where machines and load are alike."
        )


def _machines(groups: Sequence[Group]) -> Iterator[str]:
    """Yield what each run was made on, if that differs: times then differ for that reason too."""
    labels: dict[str, list[str]] = {}
    for group in groups:
        for machine in group.made_on:
            labels.setdefault(machine, []).append(group.label)
    if len(labels) > 1:
        yield "Not made alike: " + "; ".join(f"{', '.join(names)} on {machine}" for machine, names in labels.items())


def _caveats(groups: Sequence[Group]) -> Iterator[str]:
    """Yield what a reader of a method's scores must know, as the method declares it."""
    for method in dict.fromkeys(group.method for group in groups):
        declared = declared_methods().get(method)
        if declared and (caveat := declared.constants.get("caveat")):
            yield f"{method}: {caveat}"


def _missing(groups: Sequence[Group], metric: str | None, columns: Sequence[Column]) -> Iterator[str]:
    """Yield each reason once, with the cells it explains."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        for group in groups:
            score = group.score(column.score_key(metric))
            # A failed group's reason already has its own line.
            for reason in score.reasons if group.averaged != "failed" else ():
                some = f" ({score.count} seed{'s' * (score.count > 1)} shown)" if score.count else ""
                reasons.setdefault(reason, {}).setdefault(column.header, []).append(group.label + some)
    for reason, cells in reasons.items():
        where = "; ".join(f"{header} of {', '.join(methods)}" for header, methods in cells.items())
        yield f"{MISSING} {where}: {_short(reason)}"


def _short(reason: str) -> str:
    """Return a reason as one short printable line; it may come from a stranger's file."""
    line = printable(reason)
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"
