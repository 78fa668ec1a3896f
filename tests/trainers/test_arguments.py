"""Each field of `TrainingArguments` is declared, and what the declaration refuses is refused."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from transformers import TrainingArguments, trainer_utils

from mubench_hf.errors import BadInput
from mubench_hf.trainers import FinetuneTrainer, ScrubConfig, UnlearningConfig, get_method, list_methods, setting
from mubench_hf.trainers._arguments import ARGUMENTS, argument_table, check_command
from mubench_hf.trainers._settings import Range

ROOT = Path(__file__).parents[2]
FIELDS = [each.name for each in dataclasses.fields(TrainingArguments)]


def config(**settings):
    return ScrubConfig(**{"output_dir": "unused", "use_cpu": True, **settings})


def test_every_field_is_declared_in_order():
    """A new version of `transformers` may add one: say in `_arguments.py` what it does in unlearning."""
    assert list(ARGUMENTS) == FIELDS


def test_the_table_has_a_row_for_each():
    rows = argument_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == FIELDS
    assert all(row.count(" | ") == 3 for row in rows)


def test_the_documented_table_is_the_one_in_the_code():
    assert argument_table() in (ROOT / "docs" / "arguments.md").read_text(encoding="utf-8"), (
        "run: python -m mubench_hf.commands.list docs/arguments.md"
    )


def test_defaults_are_allowed_and_can_be_copied():
    for each in (UnlearningConfig, *(get_method(method).config_class for method in list_methods())):
        made = each(output_dir="unused", use_cpu=True)
        again = dataclasses.replace(made, seed=3)
        again.check()
        assert dataclasses.asdict(again) | {"seed": 42} == dataclasses.asdict(made)


def outside(allowed):
    """Return values that are not in a range."""
    values = [math.nan, "1", True, -math.inf, *([1.5] if allowed.whole else [])]
    if allowed.finite:
        values.append(math.inf)
    values += [bound - 1 for bound in (allowed.least,) if bound is not None]
    values += [bound for bound in (allowed.above, allowed.below) if bound is not None]
    return values + [bound + 1 for bound in (allowed.most,) if bound is not None]


@pytest.mark.parametrize("name", [name for name, each in ARGUMENTS.items() if each.allowed])
def test_numbers_outside_are_refused(name):
    for value in outside(ARGUMENTS[name].allowed):
        with pytest.raises(BadInput, match=f"^{name} is .*; allowed: a (finite |whole )?number") as error:
            config(**{name: value})
        assert "\n" not in str(error.value)


OTHER = {
    "hub_strategy": "all_checkpoints",
    "liger_kernel_config": {"rope": True},
    "parallelism_config": object(),
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "n",
    "label_smoothing_factor": 0.1,
    "deepspeed": {"zero_optimization": {"stage": 2}},
}
"""A value that is refused, where it is not the other truth."""


@pytest.mark.parametrize("name", [name for name, each in ARGUMENTS.items() if each.only])
def test_what_would_have_no_effect_is_refused(name):
    each = ARGUMENTS[name]
    value = OTHER[name] if name in OTHER else not each.only[0]
    with pytest.raises(BadInput) as error:
        config(**{name: value})
    assert str(error.value).startswith(f"{name} is {value!r}. {each.why} Leave it at {each.only[0]!r}.")
    for allowed in each.only:
        config(**{name: allowed}).check()


CONFLICTS = {
    "num_train_epochs": [{"num_train_epochs": value} for value in (0, -1, math.nan, math.inf, "3")],
    "max_steps": [{"max_steps": 0}],
    "warmup_steps": [{"warmup_steps": 3, "lr_scheduler_type": "constant"}],
    "optim": [{"optim": "lomo"}, {"optim": "galore_adamw_layerwise", "optim_target_modules": "all-linear"},
              {"optim": "grokadamw"}, {"optim": "adalomo"}],
    "optim_args": [{"optim_args": "a=1"}, {"optim_args": "a=1", "optim": "sgd"}, {"optim_args": "nonsense"}],
    "adam_beta1": [{"adam_beta1": 0.5, "optim": "sgd"}],
    "adam_beta2": [{"adam_beta2": 0.5, "optim": "adafactor"}],
    "adam_epsilon": [{"adam_epsilon": 0.5, "optim": "sgd"}],
    "optim_target_modules": [{"optim_target_modules": "all-linear"}],
    "fp16": [{"fp16": True}],
    "report_to": [{"report_to": "carrier_pigeon"}, {"report_to": ["none_of_these"]}],
    "project": [{"project": "mine"}],
    "trackio_space_id": [{"trackio_space_id": "me/space"}],
    "trackio_bucket_id": [{"trackio_bucket_id": "me/bucket"}],
    "trackio_static_space_id": [{"trackio_static_space_id": "me/space"}],
    "accelerator_config": [
        {"accelerator_config": {key: value}}
        for key, value in (("split_batches", True), ("dispatch_batches", True), ("use_seedable_sampler", False),
                           ("gradient_accumulation_kwargs", {"num_steps": 2}))
    ],
    "dataloader_persistent_workers": [{"dataloader_persistent_workers": True}],
    "label_names": [{"label_names": ["start_positions"]}],
    "ddp_backend": [{"ddp_backend": "gloo"}],
    "fsdp": [{"fsdp": True}, {"fsdp": "full_shard"}],
    "fsdp_config": [{"fsdp_config": {"version": 2}}],
    "debug": [{"debug": "tpu_metrics_debug"}],
}  # fmt: skip


def test_every_condition_is_tried():
    assert set(CONFLICTS) == {name for name, each in ARGUMENTS.items() if each.when}


@pytest.mark.parametrize("name", CONFLICTS)
def test_what_does_not_go_together_is_refused(name):
    for settings in CONFLICTS[name]:
        with pytest.raises(BadInput, match=f"^({name}|optim) is ") as error:
            config(**settings)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("value", [0, 1, "false", "no", None])
def test_a_truth_is_a_truth(value):
    """Texts are true, also "false"."""
    with pytest.raises(BadInput, match="^bf16 is .*; allowed: True or False"):
        config(bf16=value)


@pytest.mark.parametrize("name", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"])
def test_a_launcher_that_shards_is_refused(name, monkeypatch):
    monkeypatch.setenv(name, "true")
    with pytest.raises(BadInput, match=name):
        config()


def test_processes_that_are_not_joined_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="^WORLD_SIZE is 2: .*not joined.*--use_cpu"):
        ScrubConfig(output_dir="unused")


def test_one_process_for_several_gpus_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    with pytest.raises(BadInput, match="^n_gpu is 8: .*accelerate launch --num_processes 8 .*CUDA_VISIBLE_DEVICES=0"):
        ScrubConfig(output_dir="unused")
    config()  # On the CPU they are not used.


def test_a_field_of_a_later_version_keeps_its_default(monkeypatch):
    known = dict(ARGUMENTS)
    del known["weight_decay"]
    monkeypatch.setattr("mubench_hf.trainers._arguments.ARGUMENTS", known)
    config()
    with pytest.raises(BadInput, match="^weight_decay is 0.1, but what it does in unlearning is not known"):
        config(weight_decay=0.1)


def test_what_was_changed_later_is_checked_too(world, make):
    args = config()
    args.label_smoothing_factor = 0.1
    with pytest.raises(BadInput, match="^label_smoothing_factor is 0.1"):
        get_method("scrub")(world.original(), args, world.forget, world.retain)
    trainer = make("scrub", world)
    trainer.args.set_dataloader(drop_last=True)
    with pytest.raises(BadInput, match="^dataloader_drop_last is True"):
        trainer.train()


@pytest.mark.parametrize("name", [name for name, each in ARGUMENTS.items() if not each.commands])
def test_what_only_a_script_reads_is_no_flag_of_a_command(name):
    check_command(config(eval_strategy="epoch"))
    with pytest.raises(BadInput, match=f"^--{name} "):
        check_command(config(**{name: "folder" if name == "resume_from_checkpoint" else True}))


# Settings of methods -------------------------------------------------------------------------------------------------


WRONG = [
    ("scrub", "alpha", (math.nan, -1, math.inf, "0.1", None)),
    ("scrub", "gamma", (math.nan, -0.01)),
    ("scrub", "temperature", (0, -1, math.nan)),
    ("scrub", "msteps", (-1, 1.5)),
    ("scrub", "forget_batch_size", (0, -4, 2.0)),
    ("bad_teaching", "temperature", (0.0, -2)),
    ("bad_teaching", "retain_fraction", (0, 1.01, math.nan)),
    ("salun", "density", (0, -0.5, 1.01, math.nan)),
    ("finetune", "max_abs_loss", (0, -1, math.nan)),
    ("finetune", "cpu_threads", (0, -1, 1.5)),
]


@pytest.mark.parametrize(("method", "name", "values"), WRONG)
def test_settings_of_methods_have_ranges(method, name, values):
    made = get_method(method).config_class
    for value in values:
        with pytest.raises(BadInput, match=f"^{name} is .*; allowed: a "):
            made(output_dir="unused", use_cpu=True, **{name: value})


def test_every_number_of_a_method_has_a_range():
    for method in list_methods():
        made = get_method(method).config_class
        numbers = {
            each.name for each in dataclasses.fields(made) if "int" in str(each.type) or "float" in str(each.type)
        }
        assert numbers - set(FIELDS) <= set(made.ranges), method


@pytest.fixture(scope="module")
def own():
    @dataclasses.dataclass
    class OwnConfig(UnlearningConfig):
        """Settings of a method from outside.

        Args:
            beta: How strongly.
            rounds: How often.
            free: Any number.
        """

        beta: float = setting(0.1, above=0, most=2)
        rounds: int | None = setting(None, least=1)
        free: float = 0.0
        undocumented: float = setting(1.0, least=0)

    @dataclasses.dataclass
    class LaterConfig(OwnConfig):
        beta: float = 0.2

    return OwnConfig, LaterConfig


def test_a_method_from_outside_declares_its_own(own):
    for made in own:
        made(output_dir="unused", use_cpu=True, beta=np.float32(2), rounds=np.int64(3), free=math.inf)
        for wrong in (
            {"beta": 0},
            {"beta": 2.1},
            {"rounds": 0},
            {"free": math.nan},
            {"free": "x"},
            {"undocumented": -1},
        ):
            with pytest.raises(BadInput, match=f"^{next(iter(wrong))} is "):
                made(output_dir="unused", use_cpu=True, **wrong)
        assert made.__dataclass_fields__["beta"].metadata["help"] == "How strongly. Allowed: above 0 and at most 2."


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Range(), "a finite number"),
        (Range(finite=False), "a number"),
        (Range(least=1, whole=True), "a whole number at least 1"),
        (Range(above=0, most=1), "a number above 0 and at most 1"),
    ],
)
def test_ranges_in_words(allowed, words):
    assert str(allowed) == words


# What Trainer takes beside them --------------------------------------------------------------------------------------


def test_plain_arguments_are_told_what_to_be(world):
    with pytest.raises(BadInput, match="takes FinetuneConfig, which takes the same arguments and the method's own"):
        FinetuneTrainer(world.original(), TrainingArguments("unused", use_cpu=True), retain_dataset=world.retain)


@pytest.mark.parametrize(
    ("method", "args", "words"),
    [
        ("finetune", {"learning_rate": 1}, r"args is a dict; give FinetuneConfig\(\*\*args\)"),
        ("finetune", ScrubConfig, "args is a ScrubConfig; FinetuneTrainer takes FinetuneConfig"),
        ("rand_label", "SalUnConfig", "args is a SalUnConfig, but RandLabelTrainer does not read density"),
        ("scrub", "unused", "args is the text 'unused'"),
    ],
)
def test_the_config_of_something_else(method, args, words, world):
    if isinstance(args, str) and args.endswith("Config"):
        args = get_method("salun").config_class
    args = args("unused", use_cpu=True) if isinstance(args, type) else args
    with pytest.raises(BadInput, match=words):
        get_method(method)(world.original(), args, world.forget, world.retain)


def test_the_methods_own_config_may_be_extended(world):
    @dataclasses.dataclass
    class Mine(ScrubConfig):
        alpha: float = 0.5

    made = Mine("unused", use_cpu=True)
    assert get_method("scrub")(world.original(), made, world.forget, world.retain).args is made


def test_training_uses_the_seed_of_the_order_alone(world, make, spy):
    """`data_seed` orders rows; what a method draws is drawn by `seed`."""
    seen = {}
    for name, seeds in {"a": {}, "b": {"data_seed": 5}, "c": {"data_seed": 5, "seed": 6}}.items():
        trainer = make("rand_label", world, num_train_epochs=1, **seeds)
        batches = spy(trainer)
        trainer.train()
        rows = np.concatenate([batch.rows for batch in batches.batches])
        drawn = np.concatenate([batch.labels for batch in batches.batches])
        seen[name] = rows, drawn[np.argsort(rows)]
    assert (seen["a"][0] != seen["b"][0]).any() and (seen["b"][0] == seen["c"][0]).all()
    assert (seen["a"][1] == seen["b"][1]).all() and (seen["b"][1] != seen["c"][1]).any()


def test_the_enums_of_transformers_are_read():
    assert config(hub_strategy=trainer_utils.HubStrategy.END).hub_strategy == "end"


def test_a_default_that_nothing_reads_is_refused():
    class Mine(ScrubConfig):
        alpha = 0.5

    with pytest.raises(BadInput, match="^Mine declares alpha and is no dataclass"):
        Mine(output_dir="unused", use_cpu=True)
