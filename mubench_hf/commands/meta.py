"""``mubench meta``: how far metrics can be trusted, measured on models that are known to hold more or less of D_f."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mubench_hf.commands._arguments import CommandParser, bring_metrics
from mubench_hf.commands._data import be_quiet
from mubench_hf.commands._paths import check_folder
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task

if TYPE_CHECKING:
    from mubench_hf.tasks import TaskSpec

SEEDS = (42, 87, 21, 1)
RESULT = "meta.json"

DESCRIPTION = """Rank metrics by how often they order models of known state rightly.
The models are made on the mini sources of the tasks, one set for each seed: never saw D_f, was shown a tenth of it,
saw it, saw it ten times, hides it. Every metric is ranked, and so is your own: --metrics my_metric.py."""


def main(argv: Sequence[str]) -> None:
    """Make the models, score them with every metric, and print how each metric fares.

    Raises:
        BadInput: If an argument is not allowed.
    """
    parser = CommandParser("meta", DESCRIPTION)
    parser.add_argument("tasks", nargs="+", help="Tasks that give rows one class each; two of different modality.")
    parser.add_argument(
        "--out", default="mubench-meta", help="Output folder; what is finished there is not done again."
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=list(SEEDS), help="Two or more seeds; default: 42 87 21 1."
    )
    parser.add_argument("--jobs", help="Processes at a time; default: one for each core.")
    parser.add_argument("--markdown", action="store_true", help="Print the table in Markdown.")
    parser.add_argument(
        "--metrics", nargs="+", default=[], help="Metrics of your own, ranked beside all others: file.py."
    )
    arguments = parser.parse_args(list(argv))
    check_folder("--out", arguments.out)
    jobs, seeds = _jobs(arguments.jobs), arguments.seeds
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise BadInput(
            f"Seeds are {' '.join(map(str, seeds))}; give two or more different ones: a model that never saw D_f is "
            "the retrained one of another seed."
        )
    bring_metrics(arguments.metrics)
    tasks = [get_task(name) for name in arguments.tasks]
    if len({task.name for task in tasks}) < len(tasks):
        raise BadInput(f"Tasks are {' '.join(arguments.tasks)}; name each once.")
    be_quiet()

    from mubench_hf.runs.meta.making import check_states
    from mubench_hf.runs.plan import check_seed
    from mubench_hf.runs.setup import make_setup

    out = Path(arguments.out)
    for seed in seeds:
        check_seed(seed)
    for task in tasks:
        check_states(make_setup(task, variant="mini", out=out / task.name))
    units = [
        Unit(task.name, reference, str(out / task.name), seed, seeds[(number + 1) % len(seeds)])
        for number, seed in enumerate(seeds)
        for task, reference in zip(tasks, arguments.tasks, strict=True)
    ]
    notes, scores = _measured(tasks, units, arguments.metrics, jobs)
    _save(out / RESULT, units, notes, scores)
    _show(units, notes, scores, markdown=arguments.markdown)
    print(f"Scores of every model: {out / RESULT}")


class Unit(NamedTuple):
    """One task and seed.

    Attributes:
        task: Key of the task.
        reference: What it was named by.
        out: Its output folder.
        seed: The seed.
        other_seed: Seed of the model that never saw D_f.
    """

    task: str
    reference: str
    out: str
    seed: int
    other_seed: int

    @property
    def key(self) -> tuple[str, int]:
        """Task and seed."""
        return self.task, self.seed


def _jobs(text: str | None) -> int:
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not re.fullmatch("0*[1-9][0-9]{0,3}", text):
        raise BadInput(f"--jobs is {text[:20]!r}; allowed are whole numbers from 1 to 9999.")
    return int(text)


def _measured(
    tasks: Sequence[TaskSpec], units: Sequence[Unit], metrics: Sequence[str], jobs: int
) -> tuple[dict[tuple[str, int], Any], dict[tuple[str, int], Any]]:
    """Return what is noted of each unit's models, and their scores."""
    from mubench_hf.data.build import build
    from mubench_hf.utils.progress import RunProgress
    from mubench_hf.utils.workers import each_done

    notes, scores, progress = {}, {}, RunProgress()
    with progress.over(len(tasks) + 2 * len(units)):
        for task, unit in zip(tasks, units[: len(tasks)], strict=True):
            with progress.part(f"{task.name}, data set"):
                build(task, variant="mini", out=unit.out, progress=False)
        makings = [(unit.reference, unit.out, unit.seed, list(metrics)) for unit in units]
        for number, (found, seconds) in each_done(make, makings, jobs):
            unit = units[number]
            notes[unit.key] = found
            progress.finished(f"{unit.task}, seed {unit.seed}, models", "", seconds)
        seeds = list(dict.fromkeys(unit.seed for unit in units))
        scorings = [(unit.reference, unit.out, unit.seed, unit.other_seed, seeds, list(metrics)) for unit in units]
        for number, (found, seconds) in each_done(scores_of, scorings, jobs):
            unit = units[number]
            scores[unit.key] = found
            progress.finished(f"{unit.task}, seed {unit.seed}, scores", "", seconds)
    return notes, scores


def make(task: str, out: str, seed: int, metrics: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Make one unit's models, in a process of its own; return what is noted of them and how long it took."""
    be_quiet()
    bring_metrics(metrics)
    from mubench_hf.runs.meta.making import make_states

    start = time.perf_counter()
    return make_states(task, out, seed), time.perf_counter() - start


def scores_of(
    task: str, out: str, seed: int, other_seed: int, seeds: Sequence[int], metrics: Sequence[str]
) -> tuple[dict[str, Any], float]:
    """Score one unit's models, in a process of its own; return the scores and how long it took."""
    be_quiet()
    bring_metrics(metrics)
    from mubench_hf.runs.meta.scoring import score_states

    start = time.perf_counter()
    return score_states(task, out, seed, other_seed, seeds), time.perf_counter() - start


def _save(file: Path, units: Sequence[Unit], notes: Any, scores: Any) -> None:
    from mubench_hf.utils.files import write_atomic

    content = [
        {"task": unit.task, "seed": unit.seed, "notes": notes[unit.key], "scores": scores[unit.key]} for unit in units
    ]
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_atomic(file, lambda stream: stream.write(text.encode()))


def _show(units: Sequence[Unit], notes: Any, scores: Any, *, markdown: bool) -> None:
    from mubench_hf.results.ranking import audit_scores, left_out, rank_scores
    from mubench_hf.results.ranking_tables import markdown_ranking, print_ranking, state_lines
    from mubench_hf.runs.meta.states import NEVER, RETRAINED

    ordered = {}
    for unit in units:
        audits = audit_scores(notes[unit.key])
        audits[NEVER] = audit_scores(notes[unit.task, unit.other_seed])[RETRAINED]
        ordered[unit.key] = {state: {**own, **audits.get(state, {})} for state, own in scores[unit.key].items()}
    ranks = rank_scores(ordered, {key: left_out(each) for key, each in notes.items()})
    if markdown:
        print(markdown_ranking(ranks))
    else:
        print_ranking(ranks)
    print("", *state_lines(notes), sep="\n")
