"""The public face as a user's program uses it. A type checker reads this file (see pyproject.toml); nothing runs it.

Each ``type: ignore`` stands on a mistake that the checker must find: one that it does not find is an error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

import mubench_hf
from mubench_hf import (
    BadInput,
    Batch,
    ModelSpec,
    Pass,
    Results,
    RunResult,
    ScrubConfig,
    ScrubTrainer,
    Source,
    TaskSpec,
    UnlearningConfig,
    UnlearningTrainer,
    build,
    get_method,
    get_model,
    get_task,
    list_methods,
    list_metrics,
    list_models,
    list_tasks,
    load_results,
)


@dataclass
class MyConfig(UnlearningConfig):
    """A user's own settings."""

    strength: float = 0.5


class MyTrainer(UnlearningTrainer):
    """A user's own method."""

    key = "mine"
    config_class = MyConfig

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        return (Pass("retain"), *super().passes(epoch))

    def share(self, batch: Batch) -> Any:
        return batch.is_forget


assert_type(list_tasks(), list[str])
assert_type(list_models(), list[str])
assert_type(list_methods(), list[str])
assert_type(list_metrics(), list[str])
assert_type(get_task("cifar100"), TaskSpec)
assert_type(get_task("cifar100").source("mini"), Source)
assert_type(get_model("vit-tiny"), ModelSpec)
assert_type(get_model("vit-tiny").hub_id, str | None)
assert_type(get_method("scrub"), type[UnlearningTrainer])
assert_type(get_method(MyTrainer), type[UnlearningTrainer])

assert_type(ScrubTrainer.key, str)
assert_type(ScrubConfig(msteps=2).msteps, int)
assert_type(ScrubConfig().forget_batch_size, int | None)
assert_type(MyConfig().strength, float)

assert_type(build(get_task("cifar100"), variant="mini", out="."), Path)
assert_type(load_results("results"), Results)
assert_type(load_results("results")[0], RunResult)
assert_type(load_results("results")[0].scores, dict[str, float | None])

try:
    get_method("scrubb")
except BadInput as error:
    assert_type(error, BadInput)

get_task("cifar100").source("small")  # type: ignore[arg-type]
get_method(3)  # type: ignore[arg-type]
print(load_results("results")[0].score)  # type: ignore[attr-defined]
print(mubench_hf.scrub_trainer)  # type: ignore[attr-defined]
