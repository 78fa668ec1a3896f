"""The table of audits: a row for each method, the original and the retrained model first."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mubench_hf.errors import visible
from mubench_hf.metrics.parameters import REFERENCES
from mubench_hf.results.tables import FILE_WIDTH, MISSING
from mubench_hf.runs.audits.report import AuditReport
from mubench_hf.tasks import known_task

NOTES = (
    "Relearn steps: steps on D_f until its loss is within 5 % of the original's. x retrain: those over the retrained "
    "model's; 1 is as long as a model that never saw D_f takes, less says that something of D_f was left, more that "
    "the model was pushed beyond forgetting.",
    "D_f: the task's score on D_f as the model is, after training on rows that are not D_f, on the nine tenths of it "
    "that were not shown, in fewer bits, and pruned. Compare with the retrained model's row, not with 0.",
    "±: sample standard deviation over seeds. That of the retrained model's row is the floor: what differs by less "
    "than two models that never saw D_f do is no difference. One seed has none, and tells nothing apart.",
)


@dataclass(frozen=True)
class AuditGroup:
    """Reports that differ in their seeds alone.

    Attributes:
        label: Its method, and what sets it apart.
        method: Its method.
        reports: The reports.
    """

    label: str
    method: str
    reports: tuple[AuditReport, ...]

    def cell(self, key: str, digits: int) -> str:
        """Return the mean of a score over the seeds that have it, with their spread, or how many have it."""
        found = [report.scores.get(key) for report in self.reports]
        known = [value for value in found if value is not None]
        if not known:
            return MISSING
        spread = f" ±{statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
        some = f" [{len(known)}/{len(found)}]" if len(known) < len(found) else ""
        return f"{statistics.fmean(known):.{digits}f}{spread}{some}"

    def reasons(self, key: str) -> list[str]:
        """Return why a score is missing, each reason once."""
        return sorted({report.reasons[key] for report in self.reports if key in report.reasons})


def grouped(reports: Sequence[AuditReport]) -> list[list[AuditGroup]]:
    """Return the rows of one table for each task, variant, model, ratio and way of auditing, in the order of methods.

    Runs are averaged only if they differ in nothing but their seeds.
    """
    tables: dict[tuple, dict[tuple, list[AuditReport]]] = defaultdict(lambda: defaultdict(list))
    for report in reports:
        table = (
            report.task,
            report.variant,
            report.model,
            report.del_ratio or 0,
            json.dumps(report.audit, sort_keys=True),
        )
        row = (report.method not in REFERENCES, report.method != "original", report.method, _apart(report))
        tables[table][row].append(report)
    found = []
    for _, rows in sorted(tables.items(), key=lambda each: each[0]):
        found.append([_group(row, each) for row, each in sorted(rows.items(), key=lambda each: each[0])])
    return found


def _apart(report: AuditReport) -> tuple[str, ...]:
    """Return what sets a run apart from the method with preset settings; its own original is no setting."""
    return tuple(f"{name}={value}" for name, value in sorted(report.settings.items()))


def _group(row: tuple, reports: Sequence[AuditReport]) -> AuditGroup:
    label = f"{row[2]} ({', '.join(row[3])})" if row[3] else row[2]
    return AuditGroup(label, row[2], tuple(sorted(reports, key=lambda report: report.seed)))


def columns(groups: Sequence[AuditGroup]) -> list[tuple[str, str, int]]:
    """Return title, score and digits of each column: those of which some row has a score or a reason."""
    audit = groups[0].reports[0].audit
    last, shares = max(audit["relearning"]["steps"]), [f"{100 * share:g}" for share in audit["shares"]]
    every = [
        ("Relearn steps", "relearn_steps", 0 if all(len(group.reports) == 1 for group in groups) else 1),
        ("x retrain", "relearn_time", 2),
        ("D_f", "forget_score", 3),
        (f"D_f, {last} on D_r", f"forget_after_{last}_retain", 3),
        (f"D_f, {last} on unrelated", f"forget_after_{last}_unrelated", 3),
        (f"D_f rest, {last} on a tenth", f"rest_after_{last}_tenth", 3),
        *((f"D_f {bits} bit", f"forget_{bits}bit", 3) for bits in audit["bits"]),
        *((f"D_Test {bits} bit", f"test_{bits}bit", 3) for bits in audit["bits"]),
        *((f"D_f -{share} %", f"forget_pruned_{share}pct", 3) for share in shares),
        *((f"D_Test -{share} %", f"test_pruned_{share}pct", 3) for share in shares),
    ]
    there = {key for group in groups for report in group.reports for key in report.scores}
    return [column for column in every if column[1] in there]


def heading(groups: Sequence[AuditGroup]) -> str:
    """Return the title of a table."""
    first = groups[0].reports[0]
    seeds = sorted({report.seed for group in groups for report in group.reports})
    ratio = "named rows" if first.del_ratio is None else f"{first.del_ratio} % deleted"
    task = known_task(first.task, first.external)
    name = task.title if task else first.task
    mini = f"{name}-mini (not {name})" if first.variant == "mini" else name
    return f"Audit · {mini} · {first.model} · {ratio} · seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def print_audits(reports: Sequence[AuditReport], console: Console | None = None) -> None:
    """Print a table for each task, variant, model and ratio, to standard output by default."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = console or Console(width=FILE_WIDTH if wide else None)
    for groups in grouped(reports):
        console.print(Text(visible(heading(groups)), style="bold"))
        shown = columns(groups)
        # A terminal is narrower than all columns: the curves first, then what was done to weights.
        cut = next((place for place, column in enumerate(shown) if "bit" in column[1] or "pruned" in column[1]), None)
        for part in filter(None, (shown[:cut], shown[cut:] if cut is not None else [])):
            console.print(_table(groups, part))
        for note in (*NOTES, *_missing(groups, shown)):
            console.print(Text(visible(note), style="dim"))


def markdown_audits(reports: Sequence[AuditReport]) -> str:
    """Return the same tables as Markdown."""
    lines = []
    for groups in grouped(reports):
        shown = columns(groups)
        lines += [f"**{heading(groups)}**", "", f"| Method | {' | '.join(title for title, _, _ in shown)} |"]
        lines.append("|---|" + "---:|" * len(shown))
        for group in groups:
            lines.append(f"| {group.label} | {' | '.join(group.cell(key, digits) for _, key, digits in shown)} |")
        lines += ["", *(f"- {note}" for note in (*NOTES, *_missing(groups, shown))), ""]
    return "\n".join(lines)


def _table(groups: Sequence[AuditGroup], shown: Sequence[tuple[str, str, int]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("Method", no_wrap=True)
    for title, _, _ in shown:
        table.add_column(title, justify="right")
    for group in groups:
        label = Text(visible(group.label), style="italic" if group.method in REFERENCES else "")
        table.add_row(label, *(group.cell(key, digits) for _, key, digits in shown))
    return table


def _missing(groups: Sequence[AuditGroup], shown: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return each reason for a missing score once, with the cells that it explains."""
    found: dict[str, list[str]] = defaultdict(list)
    for title, key, _ in shown:
        for group in groups:
            for reason in group.reasons(key):
                found[reason].append(f"{title} of {group.label}")
    return [f"{MISSING} {'; '.join(cells)}: {reason}" for reason, cells in found.items()]
