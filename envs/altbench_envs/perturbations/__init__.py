"""Perturbations of camera images, each with a severity from 0 (identity) to 5; registered in `altbench.registry`."""

from altbench_envs.perturbations.photograph import Photograph
from altbench_envs.perturbations.pixels import Brightness, GaussianNoise, Occlusion

__all__ = ["Brightness", "GaussianNoise", "Occlusion", "Photograph"]
