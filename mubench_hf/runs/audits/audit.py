"""Audits a finished run beside its original and its retrained model, part by part, each kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import REFERENCES
from mubench_hf.models.compressed import check_can_quantise
from mubench_hf.runs.audits.bench import AuditSettings, Bench
from mubench_hf.runs.audits.relearning import WITHIN
from mubench_hf.runs.audits.report import AS_IS, FOLDER, PARTS, AuditReport, load_report, save_report
from mubench_hf.runs.audits.scores import audit_scores
from mubench_hf.runs.audits.subject import Subject
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import Setup
from mubench_hf.utils.differences import differences
from mubench_hf.utils.locks import sole_owner
from mubench_hf.utils.progress import RunProgress

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData

LoadRows = Callable[[Setup, "str | Path | None", str], "TaskData"]


class Audit:
    """Audits checkpoints with the same settings; parts that are in a report already are not done again.

    Args:
        settings: How.
        parts: Which of ``PARTS``; default: all.
        rows: Where the rows come from, see ``load_rows``.
        use_cpu: Whether models run on the CPU, whatever else there is.
        progress: Where progress is shown.

    Raises:
        BadInput: If a part is unknown, or what it needs is not installed.
    """

    def __init__(
        self,
        settings: AuditSettings,
        parts: Sequence[str] = PARTS,
        *,
        rows: LoadRows,
        use_cpu: bool = False,
        progress: RunProgress | None = None,
    ):
        if unknown := [part for part in parts if part not in PARTS]:
            raise BadInput(f"There is no part {unknown[0]!r} of an audit. Allowed: {', '.join(PARTS)}.")
        if "quantise" in parts:
            check_can_quantise()
        self.settings, self.rows, self.use_cpu = settings, rows, use_cpu
        self.parts = [part for part in PARTS if part in parts]
        self.progress = progress or RunProgress()

    def run(self, subjects: Sequence[Subject]) -> list[AuditReport]:
        """Audit checkpoints and the models that they are compared with; return all their reports, each once.

        Raises:
            BadInput: If a checkpoint is not finished, was changed, or nothing is measured of its kind; if ``audits``
                holds a report of another checkpoint under its name.
        """
        compared = [(subject, subject.references()) for subject in subjects]
        every: dict[Path, Subject] = {}
        for subject, references in compared:
            for each in (*(references[key] for key in REFERENCES if key in references), subject):
                every.setdefault(self.path(each), each)
        for each in every.values():
            each.check()
        reports: dict[Path, AuditReport] = {}
        with self.progress.over(len(every) * (1 + len(self.parts))):
            for path, each in every.items():
                references = each.references()
                original = reports.get(self.path(references[ORIGINAL])) if ORIGINAL in references else None
                with sole_owner(path.parent):
                    reports[path] = self._measured(each, path, original)
        for path, each in every.items():
            beside = {key: reports[self.path(found)] for key, found in each.references().items()
                      if self.path(found) in reports}  # fmt: skip
            reports[path] = _with_scores(reports[path], beside)
            save_report(reports[path], path)
        return list(reports.values())

    def path(self, subject: Subject) -> Path:
        """Return the file of a checkpoint's report."""
        return subject.out / FOLDER / f"{subject.run.name}{self.settings.tag}.json"

    def _measured(self, subject: Subject, path: Path, original: AuditReport | None) -> AuditReport:
        """Return a checkpoint's report with the parts that are asked for, and keep it after each that is new."""
        data = self.rows(subject.setup, subject.folder, subject.org)
        bench = Bench(subject, data, self.settings, self.use_cpu)
        report = self._begun(subject, data, path)
        target = None
        for part in (AS_IS, *self.parts):
            if part == "relearn":
                # The original's own report is this one.
                known = report if subject.run.method == ORIGINAL else original
                loss = (known.parts[AS_IS].get("forget") or {}).get("loss") if known else None
                target = None if loss is None else (1 + WITHIN) * loss
            with self.progress.part(f"{subject.run.method}, seed {subject.run.seed}: {part}") as shown:
                if part in report.parts and (part != "relearn" or report.parts[part].get("target") == target):
                    shown.note("already there")
                    continue
                found = bench.measure(part, target, shown)
                report = replace(report, parts={**report.parts, part: found}, merged=bench.merged)
                if "reason" in found:
                    shown.note(f"nothing: {found['reason']}")
                save_report(report, path)
        return report

    def _begun(self, subject: Subject, data: TaskData, path: Path) -> AuditReport:
        """Return what is kept of the checkpoint's audit, or an empty report."""
        run, record = subject.run, subject.record
        if record.data_fingerprint != data.manifest["fingerprint"]:
            raise BadInput(
                f"{subject.folder} was made with other rows (fingerprint {record.data_fingerprint[:12]}) than those of "
                f"{run.dataset_name} here ({data.manifest['fingerprint'][:12]}). Audit it beside its data."
            )
        fresh = AuditReport(
            run.task, run.variant, run.model, run.method, run.del_ratio, run.seed, record.data_fingerprint,
            record.deletion_sha256, subject.sha256, self.settings.recorded(data), record.settings, record.external,
        )  # fmt: skip
        if not path.is_file():
            return fresh
        there = load_report(path)
        if phrases := differences(there.identity, fresh.identity):
            raise BadInput(
                f"{path} is the audit of another checkpoint, or was made otherwise ({'; '.join(phrases)}). It is kept: "
                "move it, or choose another --out."
            )
        return there


def _with_scores(report: AuditReport, beside: dict[str, AuditReport]) -> AuditReport:
    """Return a report with its scores, compared with those of the original and the retrained model."""
    scores, reasons = audit_scores(report.parts, **{name: found.parts for name, found in beside.items()})
    hashes = {name: found.checkpoint_sha256 for name, found in beside.items()}
    return replace(report, scores=scores, reasons=reasons, references=hashes)
