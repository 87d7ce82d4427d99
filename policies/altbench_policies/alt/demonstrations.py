"""A contrast between demonstrations: the key that tells which one an episode began as."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from altbench_policies.alt.network import KeyNetwork, Pairs, nt_xent
from altbench_policies.augment import ImageBank
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import Frames, draw_rows


class DemonstrationObjective:
    """NT-Xent over two frames of each drawn demonstration, before anything is grasped.

    All first frames of a batch are of one step, and all second frames of another. So a
    frame's wrong partners show the arm in the same phase, and its right one does not:
    what tells them apart is what differs between demonstrations.
    """

    def __init__(self, network: KeyNetwork, frames: Frames) -> None:
        self.network, self.config, self.frames = network, network.config, frames
        self.banks = [ImageBank(frames.pixels[camera], network.config) for camera in network.cameras]
        self.poses = network.pose_range.normalize(frames.agent_pos)
        self.begins = torch.from_numpy(np.unique(numpy_of(frames.first)))

    def sample(self, generator: torch.Generator) -> Pairs:
        """Draw two frames of each of `batch_size` demonstrations, or of all if there are fewer."""
        begins = self.begins[draw_rows(len(self.begins), self.config.batch_size, generator)]
        steps = torch.randint(0, self.config.first_frames, (2,), generator=generator)
        rows = torch.cat([torch.minimum(begins + step, self.frames.last[begins]) for step in steps])
        images = torch.cat([bank.augmented(rows, generator) for bank in self.banks])
        noise = torch.randn(rows.shape[0], self.poses.shape[1], generator=generator).to(self.poses.device)
        return Pairs(images, self.poses[rows.to(self.poses.device)] + self.config.pose_noise * noise)

    def loss(self, batch: Pairs) -> Tensor:
        """Return the NT-Xent of the batch."""
        first, second = self.network(batch.images, batch.pose).chunk(2)
        return nt_xent(first, second, self.config.temperature, self.config.logits)
