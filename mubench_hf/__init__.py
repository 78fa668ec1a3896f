"""MU-Bench for Hugging Face: standard deletion splits, unlearning trainers, metrics and results.

Everything public can be imported from here, and importing the package alone imports nothing heavy: see ``dir()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    # The public names, one per line. Python skips these imports and makes each one when its name is first used.
    from mubench_hf.data.build import build as build
    from mubench_hf.data.loading import load_manifest as load_manifest
    from mubench_hf.data.loading import load_split as load_split
    from mubench_hf.errors import BadInput as BadInput
    from mubench_hf.kinds import Kind as Kind
    from mubench_hf.kinds import get_kind as get_kind
    from mubench_hf.kinds import kind_of as kind_of
    from mubench_hf.leaderboard.reading import load_results as load_results
    from mubench_hf.metrics import get_metric as get_metric
    from mubench_hf.metrics import list_metrics as list_metrics
    from mubench_hf.models import Architecture as Architecture
    from mubench_hf.models import ModelSpec as ModelSpec
    from mubench_hf.models import Scale as Scale
    from mubench_hf.models import get_model as get_model
    from mubench_hf.models import list_models as list_models
    from mubench_hf.runs.from_data import task_from_dataset as task_from_dataset
    from mubench_hf.runs.own import Evaluation as Evaluation
    from mubench_hf.runs.own import evaluate as evaluate
    from mubench_hf.runs.pipeline import Pipeline as Pipeline
    from mubench_hf.runs.pipeline import run as run
    from mubench_hf.runs.record import RunId as RunId
    from mubench_hf.runs.record import RunRecord as RunRecord
    from mubench_hf.runs.result import RunResult as RunResult
    from mubench_hf.runs.store import Results as Results
    from mubench_hf.runs.store import load_result as load_result
    from mubench_hf.tasks import Source as Source
    from mubench_hf.tasks import TaskSpec as TaskSpec
    from mubench_hf.tasks import Variant as Variant
    from mubench_hf.tasks import get_task as get_task
    from mubench_hf.tasks import list_tasks as list_tasks
    from mubench_hf.trainers import get_method as get_method
    from mubench_hf.trainers import list_methods as list_methods
    from mubench_hf.trainers._base import UnlearningTrainer as UnlearningTrainer
    from mubench_hf.trainers._batch import Batch as Batch
    from mubench_hf.trainers._config import UnlearningConfig as UnlearningConfig
    from mubench_hf.trainers._objective import over_batch as over_batch
    from mubench_hf.trainers._passes import Pass as Pass
    from mubench_hf.trainers.bad_teaching import BadTeachingConfig as BadTeachingConfig
    from mubench_hf.trainers.bad_teaching import BadTeachingTrainer as BadTeachingTrainer
    from mubench_hf.trainers.finetune import FinetuneConfig as FinetuneConfig
    from mubench_hf.trainers.finetune import FinetuneTrainer as FinetuneTrainer
    from mubench_hf.trainers.neggrad import NegGradConfig as NegGradConfig
    from mubench_hf.trainers.neggrad import NegGradTrainer as NegGradTrainer
    from mubench_hf.trainers.rand_label import RandLabelConfig as RandLabelConfig
    from mubench_hf.trainers.rand_label import RandLabelTrainer as RandLabelTrainer
    from mubench_hf.trainers.retrain import RetrainConfig as RetrainConfig
    from mubench_hf.trainers.retrain import RetrainTrainer as RetrainTrainer
    from mubench_hf.trainers.salun import SalUnConfig as SalUnConfig
    from mubench_hf.trainers.salun import SalUnTrainer as SalUnTrainer
    from mubench_hf.trainers.scrub import ScrubConfig as ScrubConfig
    from mubench_hf.trainers.scrub import ScrubTrainer as ScrubTrainer
else:
    from mubench_hf.utils.lazy import lazy_exports

    __getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
    __all__ += ["__version__"]
