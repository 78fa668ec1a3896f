"""The methods that a test over the registry runs, so that no test has to name them."""

from mubench_hf.trainers import get_method, list_methods


def methods_for(kind: str = "classification") -> list[str]:
    """Return the keys of the methods that are for a kind of task."""
    return [name for name in list_methods() if get_method(name).is_for(kind)]
