"""Diffusion policy."""

from altbench_policies.diffusion.config import DiffusionSpec
from altbench_policies.diffusion.policy import Diffusion

__all__ = ["Diffusion", "DiffusionSpec"]
