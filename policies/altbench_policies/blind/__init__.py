"""The right demonstration, executed blindly."""

from altbench_policies.blind.policy import Blind, BlindSpec

__all__ = ["Blind", "BlindSpec"]
