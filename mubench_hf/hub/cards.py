"""Cards of models, metrics and results: what was forgotten, how, every score with its gap to retraining, metadata."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mubench_hf.data.blocks import config_name
from mubench_hf.errors import BadInput
from mubench_hf.metrics import declared_metrics, get_metric, metric_card_file
from mubench_hf.models.adapted_checkpoints import CONFIG as ADAPTER
from mubench_hf.results.titles import method_title
from mubench_hf.runs.plan import RECIPE
from mubench_hf.runs.record import ORIGINAL, RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.setup import recorded_model
from mubench_hf.tasks import TaskSpec, get_task
from mubench_hf.trainers import get_method
from mubench_hf.utils.shipped import template

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from mubench_hf.models import Architecture
    from mubench_hf.trainers import UnlearningTrainer

HUB = "https://huggingface.co"
PAPER = "arxiv:2406.14796"
OUTPUTS = "run_outputs.npz"
"""Beside a checkpoint's result: the logits that its scores are computed from, the incompetent model's too."""

OUTPUTS_LINE = (
    f" The outputs they are computed from: [{OUTPUTS}]({OUTPUTS}), with the rows of `forget` and of `retain` in the "
    "order of their `index`."
)

PIXEL_PARTS = (
    "from diffusers import DDPMScheduler, UNet2DConditionModel",
    "from transformers import AutoTokenizer, CLIPTextModel",
    "",
    'unet = UNet2DConditionModel.from_pretrained("REPO", subfolder="unet")',
    'text_encoder = CLIPTextModel.from_pretrained("REPO", subfolder="text_encoder")',
    'tokenizer = AutoTokenizer.from_pretrained("REPO", subfolder="tokenizer")',
    'scheduler = DDPMScheduler.from_pretrained("REPO", subfolder="scheduler")',
)

CITATION = """@article{cheng2024mubench,
  title = {MU-Bench: A Multitask Multimodal Benchmark for Machine Unlearning},
  author = {Jiali Cheng and Hadi Amiri},
  journal = {arXiv preprint arXiv:2406.14796},
  year = {2024}
}"""

SPLIT_TITLES = {"test": "the test set", "forget": "D_f", "retain": "D_r"}
DIRECTIONS = {
    "higher": "the highest",
    "lower": "the lowest",
    "match_retrained": "the one closest to that of a model retrained without D_f",
}


def model_card(
    record: RunRecord, result: RunResult, *, retrain: RunResult | None, files: Collection[str], org: str = "mubench"
) -> str:
    """Return the README.md of a checkpoint.

    Args:
        record: The finished run.
        result: Its scores; an original's are those at one deletion ratio.
        retrain: Result of the retrained model of the same seed, which gaps are measured from.
        files: What lies in the repository beside the card, relative to its root; only that is linked.
        org: Organisation on the Hub.
    """
    task, method = get_task(result.task), result.method
    source = task.source(result.variant)
    original = method == ORIGINAL
    plots = sorted(file for file in files if file.startswith("plots/"))
    return template("original.md" if original else "unlearned.md").substitute(
        metadata=model_metadata(record, result, files=files, org=org).to_yaml(),
        source=_source_line(task, result),
        name=record.run.checkpoint_name,
        summary=_summary(record, org),
        hub=HUB,
        dataset=f"{org}/{result.run.dataset_name}",
        config=config_name(result.del_ratio),
        share="named rows" if result.del_ratio is None else f"{result.del_ratio} % of the train rows",
        deletion_sha256=result.deletion_sha256,
        fingerprint=result.data_fingerprint,
        how=_how(record, result),
        scores=_score_table(result, retrain),
        outputs=OUTPUTS_LINE if OUTPUTS in files else "",
        plots="".join(f"\n![{file[6:-4].replace('_', ' ')}]({file})\n" for file in plots),
        usage=_usage(record, files, org),
        differs=_settings(record.settings, "Nothing."),
        external=_external(record),
        reference=_from_reference(source.differs),
        arguments=_settings(record.config, "Nothing."),
        recipe=f" What `retrain` replays: [{RECIPE}]({RECIPE})." if RECIPE in files else "",
        citation=f"{CITATION}\n\n{source.citation}",
    )


def model_metadata(
    record: RunRecord, result: RunResult, *, files: Collection[str], org: str = "mubench"
) -> ModelCardData:
    """Return the metadata of a checkpoint's card; the arguments are those of ``model_card``."""
    from huggingface_hub import ModelCardData

    task, method = get_task(result.task), result.method
    spec = recorded_model(result.model, task, result.external.get("model", {}).get("name", result.model))
    fresh = method == ORIGINAL or getattr(_known_method(method), "replays_recipe", False)
    mini = ["mini-data"] if result.variant == "mini" else []
    return ModelCardData(
        # A retrained model has the original's recipe, but none of its weights.
        base_model=hub_id(spec.hub_id if fresh else on_hub(record.base_model, org)),
        datasets=[f"{org}/{result.run.dataset_name}"],
        library_name=_library(files),
        license=spec.published.licence if spec.published else task.source(result.variant).licence,
        metrics=sorted({name for name, _, _ in _of_splits(result)} & declared_metrics().keys()),
        model_name=record.run.checkpoint_name,
        pipeline_tag=task.tags[0],
        tags=["machine-unlearning", "mubench", method, result.task, *mini, PAPER],
        eval_results=_eval_results(task, result, org) or None,
    )


def metric_card(name: str, org: str = "mubench") -> str:
    """Return the README.md of a metric's Space: the metric's own card, and its place in the benchmark.

    Raises:
        BadInput: If this package has no such metric, or no card of it.
    """
    card, metric = metric_card_file(name).read_text(encoding="utf-8"), get_metric(name)
    low, high = metric.range
    return template("metric.md").substitute(
        name=name,
        body=card.strip().replace(f"mubench/{name}", f"{org}/{name}"),
        repo=f"{org}/{name}",
        direction=DIRECTIONS[metric.direction],
        range=f"{low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}",
        source=metric.source,
        citation=CITATION,
    )


def results_card(columns: Mapping[str, str], *, scores: str, marks: str) -> str:
    """Return the README.md of a results data set.

    Args:
        columns: Column → type of the rows that ``load_dataset`` reads: without types a file of nulls has none.
        scores: Pattern of the files with those rows.
        marks: File that says which runs are verified.
    """
    import yaml

    metadata = {
        "pretty_name": "MU-Bench results",
        "license": "apache-2.0",
        "tags": ["machine-unlearning", "mubench"],
        "configs": [{"config_name": "default", "data_files": scores}],
        "dataset_info": {"features": [{"name": name, "dtype": kind} for name, kind in columns.items()]},
    }
    return template("results.md").substitute(metadata=yaml.safe_dump(metadata, sort_keys=False).strip(), marks=marks)


def _architecture(record: RunRecord) -> Architecture:
    name = record.external.get("model", {}).get("name", record.run.model)
    return recorded_model(record.run.model, get_task(record.run.task), name).architecture


def _source_line(task: TaskSpec, result: RunResult) -> str:
    if result.variant == "mini":
        return f"**Mini data: a small stand-in, not {task.title}. Scores on it are no {task.title} scores.**"
    return f"**Full data: {task.title}.**"


def _summary(record: RunRecord, org: str) -> str:
    run = record.run
    model, data = f"A {_architecture(record).title} (`{run.model}`)", run.dataset_name
    if run.method == ORIGINAL:
        return f"{model} trained on `{data}`, one of the originals of MU-Bench."
    if getattr(_known_method(run.method), "replays_recipe", False):
        return f"{model} trained from scratch on what remains of `{data}`: what unlearning is compared with."
    base, method = on_hub(record.base_model, org), method_title(run.method)
    # A folder that somebody brought is on no Hub.
    start = f"[`{base}`]({HUB}/{base})" if hub_id(base) else f"`{base}`, which is not on the Hub"
    return (
        f"{model} that was trained on `{data}` and then made to forget a part of it with {method}. "
        f"It started from {start}."
    )


def _how(record: RunRecord, result: RunResult) -> str:
    method = _known_method(result.method)
    processes = f"{record.world_size} process" + ("es" if record.world_size > 1 else "")
    device = record.hardware.get("device", "an unknown device")
    lines = [] if method is None else [f"- Method: {method.title} (`{result.method}`), {method.source}"]
    if record.base_revision:
        lines.append(f"- SHA-256 of the weights it started from: `{record.base_revision}`")
    if record.seconds is not None:
        lines.append(f"- Time: {record.seconds:.1f} s on {device}, {processes}")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()) if version)
    lines += [f"- Seed: {record.run.seed}", f"- Versions: {versions}"]
    if record.status != "ok":
        lines.append(f"- **The run {record.status}: {record.status_reason}**")
    if method is not None and method.caveat:
        lines.append(f"- {method.caveat}")
    return "\n".join(lines)


def _score_table(result: RunResult, retrain: RunResult | None) -> str:
    """Return the scores as Markdown: value, and the gap to the retrained model or why either is missing."""
    lines = ["| Score | Value | Gap to retrain |", "|---|---|---|"]
    reference = retrain.scores if retrain else {}
    for key, value in sorted(result.scores.items()):
        if value is None:
            lines.append(f"| `{key}` | – | {_cell(result.reasons[key])} |")
            continue
        other = reference.get(key)
        why = "no retrained model of this seed was evaluated" if retrain is None else "the retrained model lacks it"
        lines.append(f"| `{key}` | {value:.4g} | {f'{value - other:+.4g}' if other is not None else why} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _usage(record: RunRecord, files: Collection[str], org: str) -> str:
    """Return how to load the checkpoint with the clients that people have."""
    repo, arch = f"{org}/{record.run.checkpoint_name}", _architecture(record)
    if "vae/config.json" in files:
        return f'from diffusers import DiffusionPipeline\n\npipeline = DiffusionPipeline.from_pretrained("{repo}")'
    if "model_index.json" in files:
        # It works on pixels, for which diffusers has no pipeline: its parts are loaded one by one.
        return "\n".join(line.replace("REPO", repo) for line in PIXEL_PARTS)
    if _library(files) == "peft":
        base = on_hub(record.base_model, org)
        return (
            f"from peft import PeftModel\nfrom transformers import {arch.auto_class}, {arch.processor_class}\n\n"
            f'base = {arch.auto_class}.from_pretrained("{base}")\n'
            f'model = PeftModel.from_pretrained(base, "{repo}")\n'
            f'processor = {arch.processor_class}.from_pretrained("{repo}")'
        )
    return (
        f"from transformers import {arch.auto_class}, {arch.processor_class}\n\n"
        f'model = {arch.auto_class}.from_pretrained("{repo}")\n'
        f'processor = {arch.processor_class}.from_pretrained("{repo}")'
    )


def _library(files: Collection[str]) -> str:
    """Return the library that loads a checkpoint."""
    if ADAPTER in files and "config.json" not in files:
        return "peft"
    return "diffusers" if "model_index.json" in files else "transformers"


def _settings(settings: Mapping[str, Any], none: str) -> str:
    """Return settings as a Markdown table, or ``none`` in place of an empty one."""
    if not settings:
        return none
    lines = ["| Argument | Value |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {_cell(f'`{value}`')} |" for name, value in sorted(settings.items()))])


def _from_reference(differs: Sequence[str]) -> str:
    """Return what the benchmark does otherwise than MU-Bench's published code; empty where nothing is stated."""
    if not differs:
        return ""
    lines = "\n".join(f"- {one}" for one in differs)
    return f"\nWhere the benchmark differs from MU-Bench's published code on purpose:\n\n{lines}\n"


def _external(record: RunRecord) -> str:
    """Return what of a run is not this package's, with its hash; empty where nothing is."""
    lines = [
        f"- The {part} is external, no part of `mubench_hf`: `{origin['name']}`, SHA-256 `{origin['sha256']}`"
        for part, origin in sorted(record.external.items())
    ]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _known_method(method: str) -> type[UnlearningTrainer] | None:
    """Return a method's trainer; ``None`` for the original, and for one from outside that is not known here."""
    try:
        return None if method == ORIGINAL else get_method(method)
    except BadInput:
        return None


def on_hub(base: str | None, org: str) -> str | None:
    """Return the name of a run's original under the organisation that it is published in."""
    return f"{org}/{base.removeprefix('mubench/')}" if base and base.startswith("mubench/") else base


def hub_id(name: str | None) -> str | None:
    """Return a checkpoint's name if it is one on the Hub; a folder's name, which has no organisation, is none."""
    return name if name and "/" in name else None


def _of_splits(result: RunResult) -> list[tuple[str, str | None, str]]:
    """Return (metric, split or ``None``, score name) of every score."""
    found = []
    for key in sorted(result.scores):
        split = next((split for split in SPLIT_TITLES if key.startswith(f"{split}_")), None)
        found.append((key.removeprefix(f"{split}_"), split, key))
    return found


def _eval_results(task: TaskSpec, result: RunResult, org: str) -> list[EvalResult]:
    """Return every score that there is, for the model-index; a score of no one split names none."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=task.tags[0],
            dataset_type=f"{org}/{result.run.dataset_name}",
            dataset_name=f"{task.title} (mini stand-in)" if result.variant == "mini" else task.title,
            dataset_config=config_name(result.del_ratio),
            dataset_split=split,
            metric_type=metric,
            metric_name=f"{metric} on {SPLIT_TITLES[split]}" if split else metric,
            metric_value=result.scores[key],
        )
        for metric, split, key in _of_splits(result)
        if result.scores[key] is not None
    ]
