"""Built data sets → forget, retain and held-out splits, from a local folder or from the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.data.blocks import blocks_of, forgotten_blocks
from mubench_hf.data.card import HELD_OUT, RETAIN_FILE, split_file
from mubench_hf.data.manifest import MANIFEST, check_rows_of, read_manifest
from mubench_hf.errors import BadInput
from mubench_hf.tasks import TaskSpec, Variant
from mubench_hf.utils.files import disk_is_full

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_split(
    task: TaskSpec,
    *,
    variant: Variant,
    ratio: int | None,
    out: Path | str = ".",
    org: str = "mubench",
    revision: str | None = None,
) -> DatasetDict:
    """Return the splits at one deletion ratio: ``forget``, ``retain``, ``test`` and any others that the task has.

    All ratios share one copy of the rows in the cache of ``datasets``: forget rows come first in train.

    Args:
        task: The task.
        variant: ``full`` or ``mini``.
        ratio: Percent of the train rows to forget, a whole number from 1 to 10; ``None`` if the rows to forget are
            named.
        out: Folder that ``build`` wrote to; if the data set is not in it, the one on the Hub is read.
        org: Organisation on the Hub.
        revision: Revision on the Hub; a local folder has none.

    Raises:
        BadInput: If the ratio is not allowed, or the data set is neither built nor on the Hub.
    """
    from datasets import DatasetDict, load_dataset
    from datasets.exceptions import DatasetsError

    file = _manifest_file(task, variant=variant, out=out, org=org, revision=revision)
    manifest, folder = read_manifest(file), _folder(task, variant, out)
    forgotten = forgotten_blocks(manifest["deletion_list"]["rule"], ratio)
    if folder.is_dir():
        check_rows_of(folder, manifest)
        # By the manifest: the card, which says the same, may be edited.
        splits = load_dataset("parquet", data_files=_files(folder.absolute(), manifest))
    else:  # The rows come from the same commit as the manifest.
        try:
            splits = load_dataset(f"{org}/{folder.name}", revision=file.parent.name)
        except (OSError, DatasetsError) as error:
            if disk_is_full(error):
                raise
            raise BadInput(f"The rows of {org}/{folder.name} cannot be read from the Hub: {error}") from error
    train = splits.pop("train")
    cut = sum(manifest["files"][name]["rows"] for name in forgotten)
    return DatasetDict(forget=train.select(range(cut)), retain=train.select(range(cut, len(train))), **splits)


def load_manifest(
    task: TaskSpec, *, variant: Variant, out: Path | str = ".", org: str = "mubench", revision: str | None = None
) -> dict[str, Any]:
    """Return ``mubench.json`` of a data set, from where ``load_split`` reads it; the arguments are the same.

    Raises:
        BadInput: If the data set is neither built nor on the Hub.
    """
    return read_manifest(_manifest_file(task, variant=variant, out=out, org=org, revision=revision))


def train_texts(task: TaskSpec, splits: DatasetDict) -> list[str]:
    """Return the texts of a task's train rows, column after column, in upstream order; empty if it has none."""
    rows = {}
    for split in ("forget", "retain"):
        for position, index in enumerate(splits[split]["index"]):
            rows[index] = (split, position)
    columns = {(split, name): splits[split][name][:] for split in ("forget", "retain") for name in task.corpus}
    return [columns[rows[index][0], name][rows[index][1]] for name in task.corpus for index in sorted(rows)]


def _manifest_file(task: TaskSpec, *, variant: Variant, out: Path | str, org: str, revision: str | None) -> Path:
    """Return a data set's ``mubench.json`` in its folder or in the cache, where the folder's name is the commit."""
    folder = _folder(task, variant, out)
    if folder.is_dir():
        return folder / MANIFEST
    from huggingface_hub import hf_hub_download

    repo = f"{org}/{folder.name}"
    try:
        return Path(hf_hub_download(repo, MANIFEST, repo_type="dataset", revision=revision))
    except OSError as error:
        if disk_is_full(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"The data of {folder.name} are neither in {folder} nor readable from {repo} on the Hub ({reason}). "
            f"Run: mubench build {task.name}{' --mini' if variant == 'mini' else ''} --out {out}"
        ) from error


def _files(folder: Path, manifest: dict[str, Any]) -> dict[str, list[str]]:
    """Return the files of each split, those of train in the order of the deletion list."""
    train = [*blocks_of(manifest["deletion_list"]["rule"]).files, RETAIN_FILE]
    held_out = [split for split in HELD_OUT if split_file(split) in manifest["files"]]
    named = {"train": train, **{split: [split_file(split)] for split in held_out}}
    return {split: [str(folder / name) for name in names] for split, names in named.items()}


def _folder(task: TaskSpec, variant: Variant, out: Path | str) -> Path:
    return Path(out) / "mubench" / task.dataset_name(variant)
