"""Runs: one checkpoint each, with the record of what made it."""
