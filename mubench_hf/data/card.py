"""The card of a built data set: its configurations, which are lists of files, and how its deletion list was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mubench_hf.data.blocks import PERCENTS, WHOLE, Blocks, blocks_of
from mubench_hf.tasks import Source, TaskSpec, Variant
from mubench_hf.utils.shipped import template

FORGET_FILES = PERCENTS.files
"""The train rows of the first percent to forget, the second, ..."""

RETAIN_FILE = "data/retain.parquet"
"""The train rows that no deletion set contains."""

HELD_OUT = ("validation", "test", "ood")
"""Splits besides train that a task may have; every task has a test split."""

SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))


def split_file(split: str) -> str:
    """Return the file of a split other than train."""
    return f"data/{split}.parquet"


def configs(held_out: Iterable[str], blocks: Blocks = PERCENTS) -> dict[str, dict[str, list[str]]]:
    """Return every configuration: name → split → files, relative to the data set's root.

    Args:
        held_out: Splits other than train, such as ``test``; they are the same in every configuration.
        blocks: How the deletion list is cut.
    """
    files = [*blocks.files, RETAIN_FILE]
    held_out = list(held_out)
    train = {"default": {"train": files}}
    train |= {name: {"forget": files[:count], "retain": files[count:]} for name, count in blocks.configs.items()}
    # Each gets its own list: YAML would write a shared one as an alias.
    return {name: {**splits, **{split: [split_file(split)] for split in held_out}} for name, splits in train.items()}


def render_card(task: TaskSpec, *, variant: Variant, manifest: Mapping[str, Any]) -> str:
    """Return the text of README.md.

    Args:
        task: The task.
        variant: Where the rows come from.
        manifest: The data set's ``mubench.json``, see ``data/build.py``.
    """
    import yaml

    source = task.source(variant)
    rows = {name: entry["rows"] for name, entry in manifest["files"].items()}
    held_out = [split for split in HELD_OUT if split_file(split) in rows]
    blocks = blocks_of(manifest["deletion_list"]["rule"])
    counts = {"train": sum(rows[name] for name in (*blocks.files, RETAIN_FILE))}
    counts |= {split: rows[split_file(split)] for split in held_out}
    total = sum(counts.values())
    metadata = {
        "pretty_name": f"{task.title} for machine unlearning" + (" (mini stand-in)" if variant == "mini" else ""),
        "license": source.licence,
        "task_categories": list(task.tags),
        "size_categories": [next((name for name, limit in SIZES if total < limit), "n>1M")],
        "tags": ["machine-unlearning", "mubench"],
        "configs": [
            {
                "config_name": config,
                # `datasets` names its cache after this text and the folder's name, not after the files.
                "description": f"Rows with the fingerprint {manifest['fingerprint'][:16]}.",
                "data_files": [{"split": split, "path": files} for split, files in splits.items()],
            }
            for config, splits in configs(held_out, blocks).items()
        ],
    }
    upstream, deletion = manifest["upstream"], manifest["deletion_list"]
    where = f"[`{source.hub_id}`](https://huggingface.co/datasets/{source.hub_id})" if source.hub_id else "none"
    if upstream["raw"]:
        where += ", read from a local copy"
    if upstream["revision"]:
        where += f"{', what that lacked' if upstream['raw'] else ''} at `{upstream['revision']}`"
    return template("dataset.md").substitute(
        metadata=yaml.safe_dump(metadata, sort_keys=False, default_flow_style=None, width=2**20).strip(),
        source=(
            f"**Mini data: a small stand-in, not {task.title}. Scores on it are no {task.title} scores.**"
            if variant == "mini"
            else f"**Full data of {task.title}, as described below; not the mini stand-in.**"
        ),
        title=task.title,
        repo=f"mubench/{task.dataset_name(variant)}",
        rows=", ".join(f"{count:,} {split}" for split, count in counts.items()),
        origin=source.origin,
        upstream=where,
        licence=source.licence,
        config="df" if blocks is WHOLE else "df_5pct",
        media=_media_text(task),
        configs="" if blocks is WHOLE else "  # df_1pct ... df_10pct",
        rule=RULES[deletion["rule"]].format(
            stream=_stream_text(deletion["stream"]), text=source.forget.text if source.forget else ""
        ),
        published=_published(source),
        deleted=f"{deletion['rows']:,}",
        nesting=(
            "`df` forgets all of them."
            if blocks is WHOLE
            else "`df_Rpct` forgets the first R tenths of it, so larger deletion sets contain the smaller."
        ),
        blocks="the rows to forget" if blocks is WHOLE else "each percent to forget",
        shared=_shared_text(manifest),
        sha256=deletion["sha256"],
        citation=source.citation,
    )


def _media_text(task: TaskSpec) -> str:
    """Return how sound or video is read, which `datasets` does not do by itself; empty for other rows."""
    if task.modality not in READERS:
        return ""
    feature, package, read = READERS[task.modality]
    (name,) = task.inputs
    return MEDIA.format(name=name, feature=feature, package=package, read=read)


def _published(source: Source) -> str:
    if source.forget:
        return "It is not a list of MU-Bench."
    if source.deletion_sha256:
        return "It equals the list published with MU-Bench."
    return "No list was published for these rows; this one is the project's own."


def _shared_text(manifest: Mapping[str, Any]) -> str:
    """Return the sentence on rows to forget that are also in the test split, if these were counted."""
    count = manifest.get("forget_rows_in_test", 0)
    return f" **{count:,} of its rows have a twin in the test split**, which a model may know them by." if count else ""


READERS = {
    "audio": ("Audio", "soundfile", "samples, rate = soundfile.read(file)"),
    "video": ("Video", "av", "frames = [frame.to_image() for frame in av.open(file).decode(video=0)]"),
}
"""Modality → feature of its column, package that reads a stored file without ``torchcodec``, and how."""

MEDIA = """
`datasets` decodes `{name}` by `torchcodec`, which is to be installed beside it (`pip install torchcodec`, and FFmpeg).
Without it, take the stored files as they are and read them with, for example, `{package}`:

```python
import io

import {package}
from datasets import {feature}

splits = splits.cast_column("{name}", {feature}(decode=False))
file = io.BytesIO(splits["forget"][0]["{name}"]["bytes"])
{read}
```
"""

RULES = {
    "given": "The rows to forget were named: {text}.",
    "by_class": (
        "With {stream}, ten draws without replacement: each takes the same number of rows of every class, about a "
        "percent of the train set in all, and fills up from all remaining rows where a class has run out."
    ),
    "whole_classes": (
        "With {stream}, classes in a random order, each with all of its rows in a random order: the first tenth of "
        "them. A class is what a model is asked for here, so classes are forgotten whole; at a ratio that is no "
        "multiple of a class's share, the last one is forgotten in part."
    ),
    "unlabelled": (
        "With {stream}, one sample of a tenth of the train rows without replacement, the last of twenty samples of "
        "growing size, sorted."
    ),
}
"""How a deletion list was drawn, by the manifest's name for the rule."""


def _stream_text(name: str | None) -> str:
    start = f"at the place where the published list of {name} starts" if name else "from its start"
    return f"NumPy's `RandomState(42)`, {start}"
