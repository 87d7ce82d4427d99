"""Read an exported data set with LeRobot itself, and compare it with the demonstrations that it was made of.

    venvs/lerobot/bin/python benchmarks/lerobot_readback.py lift-lerobot data/Lift.hdf5 [--every 7]

Run it with the interpreter of an environment with lerobot and h5py. It exits with 1 if a number differs, and prints
what the images lose.
"""

from __future__ import annotations

import argparse
import sys

import h5py
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

NUMBERS = {"action": "actions", "observation.state": "obs/agent_pos", "altbench.sim_state": "states"}
IMAGES = "observation.images."


def main() -> int:
    """Compare every n-th episode; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare a LeRobot data set with the file it was made of.")
    parser.add_argument("folder")
    parser.add_argument("demonstrations")
    parser.add_argument("--every", type=int, default=1, help="compare each n-th episode")
    args = parser.parse_args()
    data = LeRobotDataset("exported", root=args.folder, video_backend="pyav")
    cameras = [name.removeprefix(IMAGES) for name in data.meta.camera_keys]
    squares: dict[str, list[float]] = {camera: [] for camera in cameras}
    largest, frames, same = dict.fromkeys(cameras, 0.0), 0, True
    with h5py.File(args.demonstrations) as file:
        for episode in range(0, data.meta.total_episodes, args.every):
            row, ours = data.meta.episodes[episode], file[f"data/demo_{episode}"]
            for t, index in enumerate(range(row["dataset_from_index"], row["dataset_to_index"])):
                found, frames = data[index], frames + 1
                for theirs, name in NUMBERS.items():
                    # LeRobot hands out float64 as float32.
                    expected = ours[name][t].astype(found[theirs].numpy().dtype)
                    same &= bool(np.array_equal(found[theirs].numpy(), expected))
                for camera in cameras:
                    image = (255 * found[f"{IMAGES}{camera}"].numpy()).round().transpose(1, 2, 0)
                    off = image - ours[f"obs/{camera}_image"][t].astype(np.float64)
                    squares[camera].append(float((off**2).mean()))
                    largest[camera] = max(largest[camera], float(np.abs(off).max()))
    print(f"{frames} of {len(data)} frames, task {found['task']!r}: numbers {'the same' if same else 'DIFFER'}")
    for camera in cameras:
        loss = np.mean(squares[camera])
        psnr = f"{10 * np.log10(255**2 / loss):.1f} dB" if loss else "exact"
        print(f"  {camera}: PSNR {psnr}, largest error {largest[camera]:.0f} of 255")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
