"""Registered models, how they are loaded, and their outputs on a data set's rows."""

from mubench_hf.models.registry import MODELS, Architecture, ModelSpec, Scale, check_fits, get_model, list_models

__all__ = ["MODELS", "Architecture", "ModelSpec", "Scale", "check_fits", "get_model", "list_models"]
