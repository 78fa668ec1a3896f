"""Unlearn: ``accelerate launch -m mubench_hf.scripts.unlearn --task cifar100 --mini --method scrub``."""

from mubench_hf.commands._arguments import exit_with
from mubench_hf.commands.unlearn import main

if __name__ == "__main__":
    exit_with(main)
