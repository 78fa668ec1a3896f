"""A repository as it is to be on a Hub: a data set, a checkpoint with its card and scores, or a metric."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from mubench_hf.data.benchmark import EVAL, render_eval
from mubench_hf.data.blocks import ratio_of
from mubench_hf.data.manifest import MANIFEST, is_built, learn_tasks, read_manifest
from mubench_hf.errors import BadInput
from mubench_hf.hub.allowed import CARD, of_model, plain_files
from mubench_hf.hub.cards import OUTPUTS, hub_id, metric_card, model_card, on_hub
from mubench_hf.hub.contents import check_contents, check_sole
from mubench_hf.hub.eval_results import EVAL_RESULTS, render_eval_results
from mubench_hf.metrics import metric_file
from mubench_hf.models.adapted_checkpoints import BASE
from mubench_hf.models.adapted_checkpoints import CONFIG as ADAPTER
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.record import RECORD, RunId, RunRecord, load_record
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import IDENTITY, load_logits, load_named_result, load_results, reference_results
from mubench_hf.tasks import TaskSpec, Variant, recorded_task

RESULT = "run_result.json"
SPACE_FILES = (CARD, "app.py", "requirements.txt")
BESIDE = re.compile(r"^from \.(\w+) import", re.MULTILINE)
"""How a metric's file imports what several metrics share, which `evaluate` copies along with it."""


@dataclass(frozen=True)
class Bundle:
    """One repository as it is to be.

    Attributes:
        kind: ``model``, ``dataset`` or ``space``.
        repo_id: ``org/name``.
        files: Path in the repository → the file on disk, or the content itself.
        owns: Whether a path is one of those that publishing writes: such a file that is no longer here goes away.
        marker: File that says what a repository holds.
        same: Called with the marker's content in the repository, says whether that is the same thing.
        left_out: What lies beside the files and is not sent.
    """

    kind: str
    repo_id: str
    files: Mapping[str, Path | bytes]
    owns: Callable[[str], bool]
    marker: str
    same: Callable[[bytes], bool]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the repository's name.

        Raises:
            BadInput: If the Hub allows no such name.
        """
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        org, *names = self.repo_id.split("/")
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError:
            names = []
        if not org or len(names) != 1:
            raise BadInput(
                f"{self.repo_id!r} cannot be the name of a repository. Allowed: an organisation and a name of letters, "
                "digits, '.', '_' and '-', such as mubench/cifar100."
            )

    @property
    def name(self) -> str:
        """The repository as people write it: ``datasets/mubench/cifar100``; a model without a prefix."""
        return self.repo_id if self.kind == "model" else f"{self.kind}s/{self.repo_id}"

    def size(self, path: str) -> int:
        """Return the bytes of one file."""
        file = self.files[path]
        return len(file) if isinstance(file, bytes) else file.stat().st_size

    def oid(self, path: str, algorithm: str) -> str:
        """Return the name that the Hub gives a file: git's with ``sha1``, that of large files with ``sha256``."""
        digest = hashlib.new(algorithm, b"blob %d\0" % self.size(path) if algorithm == "sha1" else b"")
        file = self.files[path]
        if isinstance(file, bytes):
            digest.update(file)
        else:
            with open(file, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def dataset_bundle(task: TaskSpec, *, variant: Variant, out: Path | str = ".", org: str = "mubench") -> Bundle:
    """Return a built data set: its card, its leaderboards, its manifest, and the parquet files that this one names.

    Raises:
        BadInput: If there is no such source, it is not built under ``out``, or a file is not the one that was built.
    """
    task.source(variant)  # Or it says that there is none.
    name = task.dataset_name(variant)
    folder = Path(out) / "mubench" / name
    if not folder.is_dir():
        command = f"mubench build {task.name}{' --mini' if variant == 'mini' else ''} --out {out}"
        raise BadInput(f"There is no data set at {folder}. Run: {command}")
    is_built(folder, task, variant)  # Or it says what is wrong with it.
    manifest, (plain, left_out) = read_manifest(folder / MANIFEST), plain_files(folder)
    files: dict[str, Path | bytes] = {}
    for path in (CARD, MANIFEST, *manifest["files"]):
        if path not in plain:
            raise BadInput(f"{folder / path} is no plain file of that folder. Delete the folder and build it again.")
        files[path] = plain[path]
    card = plain[CARD].read_text(encoding="utf-8").replace(f"mubench/{name}", f"{org}/{name}")
    bundle = Bundle(
        "dataset",
        f"{org}/{name}",
        {**files, CARD: card.encode(), EVAL: render_eval(task, variant=variant).encode()},
        owns=lambda path: path in (CARD, MANIFEST, EVAL) or fnmatchcase(path, "data/*.parquet"),
        marker=MANIFEST,
        same=lambda there: _fields(there, "task", "source") == (manifest["task"], manifest["source"]),
        left_out=tuple(left_out + sorted(plain.keys() - files.keys() - {EVAL})),
    )
    check_contents(bundle.name, bundle.files)
    return bundle


def model_bundle(
    checkpoint: Path | str, *, out: Path | str | None = None, org: str = "mubench", ratio: int | None = None
) -> Bundle:
    """Return a finished run's checkpoint with its card, its scores and the outputs that they are computed from.

    Args:
        checkpoint: Folder of the run.
        out: Folder whose ``results`` and ``plots`` are the run's; default: the one with ``mubench/<checkpoint>``.
        org: Organisation on the Hub.
        ratio: For an original, which is of every ratio: the one whose scores are published; default: the source's own.

    Raises:
        BadInput: If the folder is no finished run's, has no result, or holds no weights that may be published; if its
            task came from outside and is not known here.
    """
    folder = Path(checkpoint)
    record = load_record(folder)
    if record is None or not record.finished:
        raise BadInput(
            f"{folder} has no {RECORD} of a finished run, so there is nothing to publish. Run it to its end."
        )
    out = folder.absolute().parent.parent if out is None else Path(out)
    learn_tasks(out)
    task = recorded_task(record.run.task, record.external)
    run = record.run.at(ratio_of(task, record.run.variant, ratio))
    result = _result(record, run, out)
    check_files(folder, record)
    plain, left_out = plain_files(folder)
    pipeline = "model_index.json" in plain
    files: dict[str, Path | bytes] = {
        path: file for path, file in plain.items() if of_model(path, pipeline) and path not in (CARD, RESULT, OUTPUTS)
    }
    left_out += sorted(path for path in plain.keys() - files.keys())
    weights = [path for path in files if path.endswith(".safetensors")]
    if not weights or not ({"config.json", "model_index.json", ADAPTER} & files.keys()):
        raise BadInput(f"{folder} holds no config.json with weights as safetensors; only such can be published.")
    check_sole(record.run.checkpoint_name, files)
    if ADAPTER in files and "config.json" not in files:
        base = hub_id(on_hub(record.base_model, org))
        if base is None:
            raise BadInput(f"{folder} holds an adapter of {record.base_model}, which is on no Hub. Publish that first.")
        files[ADAPTER] = config = _on_published_base(plain[ADAPTER], base)
        hashes = {**record.files, ADAPTER: hashlib.sha256(config).hexdigest()} if record.files else {}
        files[RECORD] = replace(record, files=hashes).to_json().encode()
    files[RESULT] = result.to_json().encode()
    if (out / "results" / f"{run.name}.npz").is_file():
        load_logits(run.name, out / "results", result.hashes)
        files[OUTPUTS] = out / "results" / f"{run.name}.npz"
    files |= _plots(result, out)
    repo_id = f"{org}/{record.run.checkpoint_name}"
    if standings := render_eval_results(result, repo_id=repo_id):
        files[EVAL_RESULTS] = standings.encode()
    retrain = reference_results(record, run, out / "results").get("retrain")
    card = model_card(record, result, retrain=retrain, files=files.keys(), org=org)
    bundle = Bundle(
        "model",
        repo_id,
        {CARD: card.encode(), **dict(sorted(files.items()))},
        owns=lambda path: path in (CARD, RESULT, OUTPUTS, EVAL_RESULTS) or of_model(path, pipeline=True),
        marker=RECORD,
        same=lambda there: _fields(there, "run") == (json.loads(json.dumps(vars(record.run))),),
        left_out=tuple(left_out),
    )
    check_contents(bundle.name, bundle.files)
    return bundle


def metric_bundle(name: str, *, org: str = "mubench") -> Bundle:
    """Return a metric as a Space, so that ``evaluate.load("org/name")`` finds it.

    The app and what it requires are the same for all metrics. What a metric's file imports from beside it comes along.

    Raises:
        BadInput: If this package has no such metric, or no card of it.
    """
    file = metric_file(name)
    files: dict[str, Path | bytes] = {CARD: metric_card(name, org).encode(), file.name: file}
    files |= {path.name: path for path in _beside(file)}
    files |= {path: file.parent / "_space" / path for path in SPACE_FILES if path != CARD}
    return Bundle("space", f"{org}/{name}", files, files.__contains__, marker=file.name, same=lambda there: True)


def _beside(file: Path) -> set[Path]:
    """Return the files that a metric imports from beside it, and those that these import."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        named = {file.with_name(f"{name}.py") for name in BESIDE.findall(waiting.pop().read_text(encoding="utf-8"))}
        waiting += named - found
        found |= named
    return found


def _result(record: RunRecord, run: RunId, out: Path) -> RunResult:
    """Return the run's result, which must be of this very checkpoint."""
    file = out / "results" / f"{run.name}.json"
    if not file.is_file():
        ratio = f" --del_ratio {run.del_ratio}" if run != record.run else ""
        command = f"mubench evaluate {out / 'mubench' / record.run.checkpoint_name} --out {out}{ratio}"
        raise BadInput(f"There is no result {file}. A checkpoint is published with its scores; run: {command}")
    result = load_named_result(file)
    for what in IDENTITY:
        if getattr(result, what) != getattr(record, what):
            raise BadInput(f"{file} is the result of another run: its {what} is not the checkpoint's. Evaluate again.")
    if result.hashes.get("checkpoint", record.checkpoint_sha256) != record.checkpoint_sha256:
        raise BadInput(f"{file} is the result of other weights than those of the checkpoint. Evaluate again.")
    if result.status == "failed":
        raise BadInput(f"{file} says that the run failed ({result.status_reason}). Only finished runs are published.")
    return result


def _on_published_base(config: Path, base: str) -> bytes:
    """Return an adapter's configuration that names its base as it is published, not a folder of this machine."""
    content = json.loads(config.read_text(encoding="utf-8"))
    return (json.dumps({**content, BASE: base}, indent=2, sort_keys=True) + "\n").encode()


def _plots(result: RunResult, out: Path) -> dict[str, Path]:
    """Return the pictures beside the results, if those are all of this task, source, model and ratio."""
    if not (out / "plots").is_dir() or (out / "plots").is_symlink():
        return {}
    names = ("task", "variant", "model", "del_ratio")
    drawn = {tuple(getattr(other, name) for name in names) for other in load_results(out / "results")}
    if drawn != {tuple(getattr(result, name) for name in names)}:
        return {}
    found = [file for file in sorted((out / "plots").glob("*.png")) if not file.is_symlink()]
    for file in found:
        _check_picture(file)
    return {f"plots/{file.name}": file for file in found}


def _check_picture(file: Path) -> None:
    from PIL import Image

    try:
        with Image.open(file, formats=["PNG"]) as picture:
            picture.verify()  # A PNG has a checksum for each of its parts.
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{file} is no whole picture ({error}). Delete it; `mubench run` draws it again.") from error


def _fields(content: bytes, *names: str) -> tuple[object, ...]:
    """Return fields of a JSON object, ``None`` for what is not there."""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    return tuple(found.get(name) if isinstance(found, dict) else None for name in names)
