"""The ``mubench`` commands, one file each."""
