"""One checkpoint with its rows, on which the parts of an audit are measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.models.compressed import BITS, pruned, quantised
from mubench_hf.models.device import device_name, exact_arithmetic, model_device, on_device, usable_threads
from mubench_hf.models.merged import load_merged
from mubench_hf.models.precision import in_float32
from mubench_hf.models.sources import reading
from mubench_hf.runs.audits.relearning import WITHIN, Relearning, relearn
from mubench_hf.runs.audits.report import AS_IS
from mubench_hf.runs.audits.scoring import score_rows
from mubench_hf.runs.audits.subject import Subject
from mubench_hf.runs.environment import describe_environment
from mubench_hf.runs.kept_tables import using_tables
from mubench_hf.runs.record import tag_of
from mubench_hf.runs.setup import recorded_model
from mubench_hf.utils.progress import Part

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData


@dataclass(frozen=True)
class AuditSettings:
    """How models are audited.

    Attributes:
        relearning: How they are trained.
        shares: Shares of the weights that are pruned.
        bits: Bits that weights are quantised to.
    """

    relearning: Relearning = field(default_factory=Relearning)
    shares: tuple[float, ...] = (0.1, 0.3, 0.5)
    bits: tuple[int, ...] = BITS

    @property
    def tag(self) -> str:
        """What the files of such an audit end in: nothing for the usual settings, else ``-a`` and eight hex digits."""
        mine, usual = asdict(self), asdict(AuditSettings())
        return "" if mine == usual else f"-a{tag_of(mine, {})}"

    def recorded(self, data: TaskData) -> dict[str, Any]:
        """Return the settings, and what they come to for a task, as a report holds them."""
        training = {name: value for name, value in self.relearning.arguments(data).items() if name != "cpu_threads"}
        return {**asdict(self), "training": training, "within": WITHIN}


class Bench:
    """One checkpoint with its rows, on which the parts of an audit are measured; the model is loaded when needed."""

    def __init__(self, subject: Subject, data: TaskData, settings: AuditSettings, use_cpu: bool):
        self.subject, self.data, self.settings, self.use_cpu = subject, data, settings, use_cpu
        self.merged = False

    @cached_property
    def model(self) -> Any:
        """The whole model, in float32."""
        record = self.subject.record
        spec = recorded_model(record.run.model, self.data.task, str(self.subject.folder))
        auto_class, base = spec.architecture.auto_class, record.base_revision
        model, self.merged = load_merged(self.subject.folder, auto_class, base_sha256=base)
        return in_float32(on_device(model, model_device(self.use_cpu))).eval()

    @property
    def threads(self) -> int:
        """Threads of a model on a CPU: those that the task's runs have."""
        return self.data.task.source(self.data.variant).settings.get("cpu_threads") or usable_threads()

    def measure(self, part: str, target: float | None, shown: Part) -> dict[str, Any]:
        """Return what a part comes to, or why it comes to nothing."""
        device = model_device(self.use_cpu)
        hardware, versions = describe_environment()
        made_on = {"device": device_name(device), "cpu": hardware["cpu"], "threads": self.threads}
        made_on |= {name: versions[name] for name in ("torch", "transformers", "mubench_hf")}
        self.model  # noqa: B018 - a checkpoint that cannot be loaded is an error, not a part without a result.
        try:
            with (
                using_tables(self.data.cache_dir),
                exact_arithmetic(device, self.threads),
                reading(f"The model {self.subject.folder} cannot be audited on these rows"),
            ):
                found = self._found(part, target, shown)
        except BadInput as error:
            found = {"reason": str(error)}
        return {**found, "made_on": made_on}

    def _found(self, part: str, target: float | None, shown: Part) -> dict[str, Any]:
        if part == AS_IS:
            return self._splits(self.model)
        if part == "quantise":
            return self._levels(part, ((str(bits), quantised, bits) for bits in self.settings.bits), shown)
        if part == "prune":
            shares = ((f"{100 * share:g}", pruned, share) for share in self.settings.shares)
            return self._levels(part, shares, shown)
        settings = self.settings.relearning
        on = "forget" if part == "relearn" else part
        callbacks = [shown.callback]
        aim = target if part == "relearn" else None
        curve = relearn(
            self.model, self.data, on=on, settings=settings, target=aim, use_cpu=self.use_cpu, callbacks=callbacks
        )
        return {**curve.to_dict(), "asked": list(settings.steps), "target": aim}

    def _levels(self, part: str, levels: Iterator[tuple[str, Any, Any]], shown: Part) -> dict[str, Any]:
        steps, found = list(levels), {}
        for number, (key, change, amount) in enumerate(steps):
            shown.advance_to(number, len(steps))
            changed, done = change(self.model, amount)
            found[key] = {**self._splits(changed), "done": done.to_dict()}
        return {"levels": found}

    def _splits(self, model: Any) -> dict[str, Any]:
        """Return loss and score on each split."""
        every = {split: JoinedRows(self.data.splits[split], None) for split in SPLITS}
        return {split: score_rows(model, rows, self.data)._asdict() for split, rows in every.items()}
