"""Results that never ran, their groups and their printed tables, for tests of what is said of many runs."""

import io
import random

from rich.console import Console

from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.columns import table_columns
from mubench_hf.results.tables import markdown_table, print_table
from mubench_hf.runs.result import RunResult

SPLITS = ("test", "forget", "retain")
KEYS = [*(f"{split}_accuracy" for split in SPLITS), "unlearn_seconds", "retrain_time_ratio", "average_gap",
        "knowledge_gap", "mia_confidence_svc", "mia_loss_auc", "unlearning_score", "zrf"]  # fmt: skip


def make_run(method="scrub", seed=0, scores=None, **changes):
    values = dict(task="cifar100", variant="full", data_fingerprint="f", deletion_sha256="d", model="vit", del_ratio=5)
    values |= dict(status="ok", scores=scores or {}, method=method, seed=seed)
    if changes.get("status", "ok") != "ok":
        values["status_reason"] = "loss is not finite"
    return RunResult(**(values | changes))


def groups_of(*runs):
    (groups,) = aggregate(runs)
    return groups


def many_groups(methods, seeds=3):
    return groups_of(
        *(make_run(method, seed, {key: random.random() for key in KEYS}) for method in methods for seed in range(seeds))
    )


def draw(groups, width, color=False, **options):
    stream = io.StringIO()
    kind = {"force_terminal": True, "color_system": "standard"} if color else {}
    print_table(groups, console=Console(file=stream, width=width, **kind), **options)
    return stream.getvalue()


def seeded(method, scores, seeds=3, spread=0.0, **changes):
    """Return a method's runs of several seeds: each score is the given one, plus steps of ``spread`` around it."""
    steps = [spread * (seed - (seeds - 1) / 2) for seed in range(seeds)]
    return [
        make_run(method, seed, {key: value + step for key, value in scores.items()}, **changes)
        for seed, step in enumerate(steps)
    ]


def markdown_rows(groups):
    """Return method -> header -> cell of the first Markdown table."""
    return markdown_rows_of(markdown_table(groups).split("**Gap to retrain by seed")[0])


def markdown_rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in table}) == 1
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


COLUMNS = table_columns(groups_of(make_run(scores=dict.fromkeys(KEYS, 0.5))), "accuracy")
COLUMN = {column.key: column for column in COLUMNS}
