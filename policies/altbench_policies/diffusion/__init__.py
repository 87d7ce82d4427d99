"""Diffusion policy."""

from altbench_policies.diffusion.policy import Diffusion
from altbench_policies.diffusion.settings import DiffusionSpec

__all__ = ["Diffusion", "DiffusionSpec"]
