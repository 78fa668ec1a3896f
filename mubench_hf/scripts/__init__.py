"""What ``accelerate launch -m mubench_hf.scripts.<name>`` and ``mubench <name>`` start."""
