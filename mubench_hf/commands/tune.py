"""``mubench tune``: choose settings of methods on rows that are not reported, with the same number of trials each."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.commands._arguments import CommandParser, add_use_cpu
from mubench_hf.commands._data import be_quiet
from mubench_hf.commands._flags import add_mini
from mubench_hf.commands._paths import check_folder
from mubench_hf.commands._tasks import named_tasks
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.trainers import METHODS
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.processes import launched_processes

if TYPE_CHECKING:
    from mubench_hf.runs.tuning import Tuning

DESCRIPTION = """Choose settings of methods by the average gap to retraining, on rows that are not reported.
What is finished is not done again; docs/tuning.md says how rows and trials are chosen."""

SAMPLERS = ("random", "tpe")

MOST_TRIALS = 10_000

LOG = "trials.md"
"""File in OUT/tune with every trial."""


def main(argv: Sequence[str]) -> None:
    """Make trials of each method, print what they found, and keep the list of all trials.

    Raises:
        BadInput: If an argument is not allowed, optuna is missing, or the folder holds other runs.
    """
    parser = _parser()
    arguments = vars(parser.parse_args(list(argv)))
    check_folder("--out", arguments["out"])
    trials, jobs = (_count(name, arguments.pop(name)) for name in ("trials", "jobs"))
    if launched_processes() > 1:
        raise BadInput("mubench tune is one process, which starts others by --jobs. Start it without a launcher.")
    if arguments["del_ratio"] is not None:
        check_ratio(arguments["del_ratio"])
    if arguments["raw"] and (arguments["variant"] == "mini" or not Path(arguments["raw"]).is_dir()):
        raise BadInput(f"--raw is {arguments['raw']!r}; it takes a folder of upstream files, and goes with full data.")
    methods = list(dict.fromkeys(arguments.pop("method")))
    for method in methods:
        METHODS.check(method)
    learn_tasks(arguments["out"])
    (task,) = named_tasks([arguments.pop("task")])
    _check_apart(Path(arguments["out"]), task.dataset_name(arguments["variant"]))
    be_quiet()

    from mubench_hf.commands._tune_text import found_text, trials_text
    from mubench_hf.runs.trials import FOLDER, found_trials
    from mubench_hf.runs.tuning import Tuning
    from mubench_hf.trainers import get_method
    from mubench_hf.utils.progress import RunProgress

    asked = _ranges(arguments.pop("search"), [get_method(each).method_key() for each in methods])
    given = {name: value for name, value in arguments.items() if value is not None}
    tunings = [Tuning(task, method=each, asked=asked.get(get_method(each).method_key()), **given) for each in methods]
    out = Path(given["out"])
    if jobs > 1:
        _start(out / FOLDER, jobs, _without(argv, "--jobs"), tunings, trials)
    for tuning in tunings:  # With jobs, what they left.
        tuning.run(trials, RunProgress())
    text = trials_text(found_trials(out))
    log = write_atomic(out / FOLDER / LOG, lambda stream: stream.write(text.encode()))
    for tuning in tunings:
        print(found_text(tuning.method, tuning.search.trials(trials), tuning.search.space))
    print(f"All trials: {log}")


def _parser() -> CommandParser:
    parser = CommandParser("tune", DESCRIPTION)
    parser.add_argument("task", help="Key of a task, or file.py:TASK.")
    add_mini(parser)
    parser.add_argument("--method", nargs="+", required=True, help="Methods, or file.py:Trainer.")
    parser.add_argument("--trials", default="20", help="Trials of each method, the preset's included (default: 20).")
    parser.add_argument("--out", default="mubench-tuning", help="Output folder, for these runs alone.")
    parser.add_argument("--model", help="A registered model, a Hub id or a folder; default: the task's.")
    parser.add_argument("--del_ratio", help="Percent of train to forget, 1 to 10; default: 5.")
    parser.add_argument("--seeds", nargs="+", type=int, help="Seeds of the runs of each trial; default: 1 2 3.")
    parser.add_argument(
        "--search",
        nargs="+",
        default=[],
        help="Numbers to try in place of those that a method declares: scrub.alpha=0.01:1.",
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="random",
        help="How settings are drawn; tpe learns from the trials before, one at a time (default: random).",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of what is tried (default: 0).")
    parser.add_argument("--jobs", default="1", help="Processes that share the trials (default: 1).")
    parser.add_argument("--raw", help="Folder of upstream files, for full data that are not on the Hub.")
    add_use_cpu(parser)
    return parser


def _count(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or not 1 <= int(text) <= MOST_TRIALS:
        raise BadInput(f"--{name} is {text[:20]!r}; allowed are whole numbers from 1 to {MOST_TRIALS:,}.")
    return int(text)


def _ranges(words: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return method → setting → ends, as words such as ``scrub.alpha=0.01:1`` name them."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for word in words:
        name, _, ends = word.partition("=")
        method, _, setting = name.rpartition(".")
        low, _, high = ends.partition(":")
        try:
            numbers = _number(low), _number(high)
        except ValueError:
            numbers = None
        if not method or not setting or numbers is None:
            raise BadInput(f"--search {word} is not METHOD.SETTING=LOW:HIGH. Write it like scrub.alpha=0.01:1.")
        if method not in methods:
            raise unknown_name("method in --search", method, methods)
        if setting in found.setdefault(method, {}):
            raise BadInput(f"--search {word}: {setting} is given twice. Leave one out.")
        found[method][setting] = numbers
    return found


def _number(text: str) -> float:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else float(text)


def _check_apart(out: Path, dataset: str) -> None:
    """Check that a folder holds no reported runs.

    Raises:
        BadInput: If it has the data set that they are made with.
    """
    if (out / "mubench" / dataset).exists():
        raise BadInput(
            f"{out} holds runs of {dataset} itself. Those that choose settings have a folder of their own, so that "
            "none is taken for one of them: choose another --out."
        )


def _start(folder: Path, jobs: int, argv: Sequence[str], tunings: Sequence[Tuning], trials: int) -> None:
    """Let processes share the trials until all have ended, and say what has been found."""
    from mubench_hf.commands._tune_text import trial_line
    from mubench_hf.commands.sweep import visible_gpus
    from mubench_hf.runs.sweeps.launchers import LocalWorkers

    if any(tuning.search.sampler == "tpe" for tuning in tunings):
        raise BadInput(f"--jobs is {jobs}, but tpe draws a trial from those before it. Leave out one of the two.")
    if all(sum(each.finished for each in tuning.search.trials(trials)) == trials for tuning in tunings):
        return
    command = [sys.executable, "-m", "mubench_hf.cli", "tune", *argv]
    workers = LocalWorkers(folder.parent, jobs, visible_gpus(), command=command, logs=folder / "logs")
    for number in range(jobs):
        workers.start(number)
    said: set[Any] = set()
    try:
        while not all(workers.ended(number) for number in range(jobs)):
            time.sleep(1.0)
            for tuning in tunings:
                for trial in tuning.search.trials(trials):
                    if trial.finished and (tuning.method, trial.number) not in said:
                        said.add((tuning.method, trial.number))
                        print(trial_line(tuning.method, trial), file=sys.stderr, flush=True)
    finally:
        workers.stop()


def _without(argv: Sequence[str], flag: str) -> list[str]:
    """Return a command's words without a flag and its value."""
    words = list(argv)
    for place, word in enumerate(words):
        if word == flag:
            return words[:place] + words[place + 2 :]
        if word.startswith(f"{flag}="):
            return words[:place] + words[place + 1 :]
    return words
