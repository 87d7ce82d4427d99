"""Perturbations of images and scenes, each with a severity from 0 (identity) to 5.

`altbench.core.registry` names them.
"""

from altbench_envs.perturbations.blur import DefocusBlur, GaussianBlur, MotionBlur
from altbench_envs.perturbations.camera import BlackCamera, FrozenFrame, Rotation, Shift
from altbench_envs.perturbations.compression import Jpeg, Pixelate
from altbench_envs.perturbations.distractors import Distractors
from altbench_envs.perturbations.lighting import LightColour, LightDirection, LightStrength
from altbench_envs.perturbations.noise import ImpulseNoise, ShotNoise
from altbench_envs.perturbations.photograph import Photograph
from altbench_envs.perturbations.pixels import Brightness, GaussianNoise, Occlusion
from altbench_envs.perturbations.textures import ObjectColour, RoomTexture, TableTexture
from altbench_envs.perturbations.tone import Contrast, Fog, Saturation
from altbench_envs.perturbations.viewpoint import CameraPose

__all__ = [
    "BlackCamera",
    "Brightness",
    "CameraPose",
    "Contrast",
    "DefocusBlur",
    "Distractors",
    "Fog",
    "FrozenFrame",
    "GaussianBlur",
    "GaussianNoise",
    "ImpulseNoise",
    "Jpeg",
    "LightColour",
    "LightDirection",
    "LightStrength",
    "MotionBlur",
    "ObjectColour",
    "Occlusion",
    "Photograph",
    "Pixelate",
    "RoomTexture",
    "Rotation",
    "Saturation",
    "Shift",
    "ShotNoise",
    "TableTexture",
]
