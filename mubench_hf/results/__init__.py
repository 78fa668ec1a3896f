"""Results of runs: scores, tables and plots."""

from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_result, load_results, save_result

__all__ = ["RunResult", "load_result", "load_results", "save_result"]
