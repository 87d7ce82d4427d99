"""The command line: `altbench run`, `list`, `compare` and the others."""

from altbench.cli.app import main

__all__ = ["main"]
