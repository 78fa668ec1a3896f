"""Sweeps: grids of runs as a list of commands, and whoever works through it."""
