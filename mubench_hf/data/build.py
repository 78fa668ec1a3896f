"""Rows of a task → a Hub data set folder: parquet blocks, card and manifest, each row written once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf import __version__
from mubench_hf.data import splits
from mubench_hf.data.benchmark import EVAL, render_eval
from mubench_hf.data.blocks import GIVEN, block_ends, source_blocks
from mubench_hf.data.card import HELD_OUT, RETAIN_FILE, render_card, split_file
from mubench_hf.data.manifest import CARD, FORMAT, MANIFEST, fingerprint, is_built
from mubench_hf.data.parquet import block_features, column, write_parquet
from mubench_hf.data.twins import count_twins
from mubench_hf.errors import BadInput
from mubench_hf.tasks import TaskSpec, Variant
from mubench_hf.utils.files import disk_is_full, file_sha256
from mubench_hf.utils.locks import held
from mubench_hf.utils.sealed import sealed

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

INDEX = "index"
"""Column in which a source may give each row's upstream number, if that is not its position."""


def build(
    task: TaskSpec, *, variant: Variant, out: Path | str, raw: Path | str | None = None, progress: bool | None = None
) -> Path:
    """Write a task's rows and deletion list as a data set folder, which appears only once it is complete.

    A folder built earlier from the same source is kept, after its hashes are checked; delete it to build afresh.

    Args:
        task: The task.
        variant: ``full``, or ``mini``, which needs no network.
        out: Folder that gets ``mubench/<data set>``.
        raw: Folder with the upstream files, read instead of the Hub.
        progress: Whether to show a progress bar; ``None`` shows one only in a terminal.

    Returns:
        The folder, ``out/mubench/cifar100`` or ``out/mubench/cifar100-mini``.

    Raises:
        BadInput: If the rows cannot be read or are not the task's, if their deletion list is not the published one, or
            if the folder holds something else.
    """
    if variant == "mini" and raw is not None:
        raise BadInput(f"The mini source of {task.name} is made by this package. Leave out the raw folder {raw}.")
    target = Path(out) / "mubench" / task.dataset_name(variant)
    if is_built(target, task, variant):
        return target
    data = _load(task, variant, raw)
    check_rows(task, data)
    order, drawn = deletion_list(task, variant, data["train"])
    manifest = {
        "format": FORMAT,
        "task": task.name,
        "source": variant,
        "version": __version__,
        "upstream": _upstream(task, variant, raw),
        "deletion_list": drawn,
    }
    if task.description is not None:  # These rows have not been checked before.
        manifest |= {"task_spec": dict(task.description), "forget_rows_in_test": count_twins(task, data, order)}
    with _fresh_folder(target) as folder:
        if is_built(target, task, variant):  # Another process was faster.
            return target
        files = _write_blocks(folder, task, variant, data, order, progress)
        manifest |= {"fingerprint": fingerprint(files), "files": files}
        card = render_card(task, variant=variant, manifest=manifest)
        manifest = sealed({**manifest, "card_sha256": hashlib.sha256(card.encode()).hexdigest()})
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        (folder / EVAL).write_text(render_eval(task, variant=variant), encoding="utf-8")
        (folder / CARD).write_bytes(card.encode())
        folder.rename(target)
    return target


def check_rows(task: TaskSpec, data: DatasetDict) -> None:
    """Check that ``data`` has a task's splits, columns and labels.

    Raises:
        BadInput: Naming the split, the column and the first row that cannot be used.
    """
    from datasets import ClassLabel

    wrong = sorted(set(data) - {"train", *HELD_OUT}) + sorted({"train", "test"} - set(data))
    if wrong:
        raise BadInput(
            f"Splits of {task.name}: found {', '.join(sorted(data))}. Needed: train and test; allowed besides: "
            f"validation, ood. Check {', '.join(wrong)}."
        )
    columns, features = (*task.inputs, task.label), data["train"].features
    for split, rows in data.items():
        where = f"Split {split!r} of {task.name}"
        if set(rows.column_names) - {INDEX} != set(columns):
            raise BadInput(f"{where} has the columns {', '.join(rows.column_names)}. Needed: {', '.join(columns)}.")
        if rows.features != features:
            raise BadInput(f"{where} has the features {rows.features}, but train has {features}. Make them equal.")
        if not len(rows):
            raise BadInput(f"{where} is empty. Check the upstream files.")
        feature = features[task.label]
        if isinstance(feature, ClassLabel):
            labels = column(rows, task.label)
            values = labels.fill_null(-1).to_numpy()
            bad = np.flatnonzero((values < 0) | (values >= feature.num_classes))
            if len(bad):
                raise BadInput(
                    f"{where}: column {task.label!r} holds {labels[int(bad[0])].as_py()} at index {bad[0]}. "
                    f"Allowed: 0 to {feature.num_classes - 1}."
                )
        elif task.kind == "classification":
            raise BadInput(f"{where}: column {task.label!r} is {feature}. Needed: ClassLabel with the class names.")


def _load(task: TaskSpec, variant: Variant, raw: Path | str | None) -> DatasetDict:
    from datasets.exceptions import DatasetsError

    if variant == "mini":
        return task.mini.load(None)
    if raw is not None and not Path(raw).is_dir():
        raise BadInput(f"There is no folder {raw}. Give the folder that holds the raw files of {task.name}.")
    try:
        return task.full.load(None if raw is None else Path(raw))
    except BadInput:
        raise
    except (OSError, ValueError, DatasetsError) as error:
        if disk_is_full(error):
            raise
        if raw:
            where, instead = f"the folder {raw}", "Check it, or give another folder with the raw files: --raw FOLDER."
        else:
            where = f"{task.full.hub_id} on the Hub"
            instead = "Check the network and HF_HUB_OFFLINE, or give a folder with the raw files: --raw FOLDER."
            instead += " The small stand-in data need neither: --mini." if task.mini else ""
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise BadInput(f"Cannot read {task.title} from {where}: {reason}. {instead}") from error


def deletion_list(task: TaskSpec, variant: Variant, train: Dataset) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the positions of the train rows to forget, int64 ``[rows]``, and what a manifest says of the list.

    Args:
        task: The task.
        variant: ``full`` or ``mini``.
        train: All train rows in upstream order.

    Raises:
        BadInput: If the list is not the published one, or there are too few rows for one.
    """
    from datasets import ClassLabel

    source, upstream = task.source(variant), _upstream_rows(train)
    rng, feature = splits.stream(source.stream), train.features[task.label]
    if source.forget is not None:
        order, rule = _positions(upstream, source.forget.rows, task), GIVEN
    elif task.forgets_classes:
        order, rule = (
            splits.class_order(column(train, task.label).to_numpy(), feature.num_classes, rng),
            "whole_classes",
        )
    elif isinstance(feature, ClassLabel):
        order = splits.deletion_order(column(train, task.label).to_numpy(), feature.num_classes, rng)
        rule = "by_class"
    else:
        order, rule = splits.unlabelled_order(len(train), rng), "unlabelled"
    if len(order) == len(train):
        raise BadInput(f"All {len(train):,} train rows of {task.name} would be forgotten, none retained. Add rows.")
    found = splits.list_sha256(upstream[order])
    if source.deletion_sha256 not in (None, found):
        raise BadInput(
            f"The deletion list of these {len(train):,} train rows of {task.name} has the SHA-256 {found}, the "
            f"published one {source.deletion_sha256}. These are not the benchmark's rows in their order: check the raw "
            "files or the upstream revision. Nothing was written."
        )
    return order, {"rule": rule, "stream": source.stream, "rows": len(order), "sha256": found}


def _upstream(task: TaskSpec, variant: Variant, raw: Path | str | None) -> dict[str, Any]:
    """Return where the rows came from; the revision is the Hub's current one if the task pins none.

    It belongs to the files read from the Hub, so there is none if a raw folder holds all of them.
    """
    source = task.source(variant)
    from_hub = raw is None or not all(Path(raw, name).is_file() for name in source.hub_files)
    revision = source.revision if from_hub else None
    if not revision and from_hub:
        # A branch is no commit: the rows came from the cache, and the Hub cannot be reached.
        revision = found if (found := source.commit()) not in source.branches else None
    return {"id": source.hub_id, "revision": revision, "raw": raw is not None}


def _upstream_rows(rows: Dataset) -> np.ndarray:
    """Return the upstream row number of each row: the one that the source gives, else its position."""
    return column(rows, INDEX).to_numpy() if INDEX in rows.column_names else np.arange(len(rows))


def _positions(upstream: np.ndarray, named: tuple[int, ...], task: TaskSpec) -> np.ndarray:
    """Return the positions in train of the rows with these upstream numbers."""
    places = {row: place for place, row in enumerate(upstream.tolist())}
    missing = [row for row in named if row not in places]
    if missing or not named or len(set(named)) < len(named):
        raise BadInput(
            f"The {len(named):,} rows to forget of {task.name} cannot be used: "
            f"{f'row {missing[0]} is not in train' if missing else 'none is named, or one twice'}. "
            "Name each train row that is to be forgotten once."
        )
    return np.array([places[row] for row in named], dtype=np.int64)


def _write_blocks(
    folder: Path, task: TaskSpec, variant: Variant, data: DatasetDict, order: np.ndarray, progress: bool | None
) -> dict[str, dict[str, Any]]:
    """Write every parquet file; return the rows, bytes and SHA-256 of each by name."""
    from tqdm import tqdm

    train = data["train"]
    kept = np.ones(len(train), dtype=bool)
    kept[order] = False
    blocks = source_blocks(task, variant)
    ends = block_ends(blocks, len(order))
    plan = {name: ("train", rows) for name, rows in zip(blocks.files, np.split(order, ends[:-1]), strict=True)}
    plan[RETAIN_FILE] = ("train", np.flatnonzero(kept))
    plan |= {split_file(split): (split, np.arange(len(data[split]))) for split in HELD_OUT if split in data}
    features = block_features(train, (*task.inputs, task.label))
    files = {}
    (folder / "data").mkdir()
    bar_off = None if progress is None else not progress
    with tqdm(total=sum(map(len, data.values())), desc="Writing rows", unit="row", disable=bar_off) as bar:
        for name, (split, index) in plan.items():
            file, rows = folder / name, data[split].select(index) if split == "train" else data[split]
            write_parquet(file, rows, _upstream_rows(data[split])[index], features, split=split, bar=bar)
            files[name] = {"rows": len(index), "bytes": file.stat().st_size, "sha256": file_sha256(file)}
    return files


@contextmanager
def _fresh_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``, to be renamed to it; otherwise it is removed.

    Only one process at a time builds a target, so what a killed one left behind is safe to remove.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.building"
    with held(target.parent / f".{target.name}.lock", named=target, doing="building it"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
