"""Open-loop playback of the demonstration that began most alike."""

from altbench_policies.open_loop.policy import OpenLoop, OpenLoopSpec

__all__ = ["OpenLoop", "OpenLoopSpec"]
