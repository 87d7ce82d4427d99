"""altbench: does a manipulation policy generalise, or recall?

Importing this registers the Gymnasium ids (`altbench/Lift-v0`, ...) by name only; neither torch nor a simulator is loaded.
"""

from __future__ import annotations

__version__ = "0.1.0"


def _register_environments() -> None:
    import gymnasium

    from altbench.core.registry import ENVIRONMENTS

    for name, entry_point in ENVIRONMENTS.items():
        if f"altbench/{name}-v0" not in gymnasium.registry:
            gymnasium.register(id=f"altbench/{name}-v0", entry_point=entry_point)


_register_environments()
