"""The nearest observation, with nothing learned: the paper's baseline."""

from altbench_policies.kdtree.policy import KDTree, KDTreeSpec

__all__ = ["KDTree", "KDTreeSpec"]
