"""altbench: does a manipulation policy generalise, or recall?

Importing this registers the Gymnasium ids (`altbench/Lift-v0`, ...) by name only; neither torch nor a simulator is loaded.
"""

from __future__ import annotations

from altbench.core.registry import register_environments

__version__ = "0.1.0"

register_environments()
