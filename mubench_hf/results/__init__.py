"""Results of runs: scores, tables and plots."""

from mubench_hf.results.schema import RunResult
from mubench_hf.results.store import load_result, load_results, save_result

__all__ = ["RunResult", "load_result", "load_results", "save_result"]
