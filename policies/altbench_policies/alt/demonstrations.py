"""A contrast between demonstrations: the key that tells which one an episode began as."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from altbench_policies.alt.network import KeyNetwork, PairObjective
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import Frames, draw_rows


class DemonstrationObjective(PairObjective):
    """NT-Xent over two frames of each drawn demonstration, before anything is grasped.

    All first frames of a batch are of one step, and all second frames of another. So a
    frame's wrong partners show the arm in the same phase, and its right one does not:
    what tells them apart is what differs between demonstrations.
    """

    def __init__(self, network: KeyNetwork, frames: Frames) -> None:
        super().__init__(network, frames)
        self.begins = torch.from_numpy(np.unique(numpy_of(frames.first)))

    def _rows(self, generator: torch.Generator) -> Tensor:
        """Return rows (2B,): two frames of each of `batch_size` demonstrations, or of all if there are fewer."""
        begins = self.begins[draw_rows(len(self.begins), self.config.batch_size, generator)]
        steps = torch.randint(0, self.config.first_frames, (2,), generator=generator)
        return torch.cat([torch.minimum(begins + step, self.frames.last[begins]) for step in steps])
