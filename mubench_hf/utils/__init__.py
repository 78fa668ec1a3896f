"""Files, folders and progress: what any layer may need."""
