"""Meta-evaluation: models that are known to hold more or less of D_f, on which metrics are measured."""
