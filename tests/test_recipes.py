"""The launch recipes are configurations that accelerate itself reads, of what the trainers support."""

import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "docs" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_accelerate_reads_it(recipe):
    found = load_config_from_file(str(recipe))
    assert isinstance(found, ClusterConfig)
    assert found.num_processes % found.num_machines == 0 and found.num_processes > 1
    assert found.distributed_type in ("MULTI_GPU", "FSDP")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_the_launcher_takes_it(recipe):
    args = launch_command_parser().parse_args(["--config_file", str(recipe), "-m", "mubench_hf.scripts.unlearn"])
    args, found, _ = _validate_launch_command(args)
    assert args.multi_gpu or args.use_fsdp
    assert args.num_processes == found.num_processes and args.mixed_precision == "bf16"


def test_fsdp_settings_are_those_that_are_not_refused(monkeypatch):
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    recipe = ROOT / "docs" / "recipes" / "fsdp2.yaml"
    args = launch_command_parser().parse_args(["--config_file", str(recipe), "-m", "mubench_hf.scripts.unlearn"])
    args, *_ = _validate_launch_command(args)
    for name, value in prepare_multi_gpu_env(args).items():
        if name.startswith(("FSDP_", "ACCELERATE_")):
            monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert not plugin.cpu_ram_efficient_loading and not plugin.activation_checkpointing
    assert type(plugin.cpu_offload).__name__ == "OffloadPolicy"


def test_the_page_names_every_recipe_and_no_other():
    text = (ROOT / "docs" / "launch.md").read_text(encoding="utf-8")
    assert set(re.findall(r"recipes/(\w+)\.yaml", text)) == {recipe.stem for recipe in RECIPES}
