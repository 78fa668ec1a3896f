"""Train an original: ``accelerate launch -m mubench_hf.scripts.train --task cifar100 --mini``."""

from mubench_hf.commands._arguments import exit_with
from mubench_hf.commands.train import main

if __name__ == "__main__":
    exit_with(main)
