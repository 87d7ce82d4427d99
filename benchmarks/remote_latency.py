"""Measures what a policy's own process adds to a decision: `python benchmarks/remote_latency.py`.

The server is a process of its own on this machine and answers at once, so that the time
of a decision is what protocol, codec and sockets cost. An observation has two images of
84×84 and the proprioception. `--isolate no-network` goes through the Unix socket.
`--real-time` gives client and server the kernel's real-time priority while decisions are
timed, so that other work on the machine does not count; it needs root.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil

from altbench.core import registry
from altbench.core.policy import Observation
from altbench.remote.client import RemotePolicy
from altbench.remote.settings import RemoteConfig

POLICY = '''
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec

class AtOnce(Policy[Spec]):
    """Answers the same actions at once."""
    name = "at_once"
    requirements = Requirements(("agentview", "wrist"), 1, 8, 8)
    def reset(self, slots, seeds):
        self.actions = np.zeros((1, 8, 10), np.float32)
    def act(self, observation, slots):
        return Decision(self.actions)
'''


def prefer_all() -> None:
    """Give all threads of this process, and of all that it started, real-time priority."""
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        for thread in process.threads():
            os.sched_setscheduler(thread.id, os.SCHED_FIFO, os.sched_param(1))


def main() -> None:
    """Time `--decisions` decisions and print their percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=2000)
    parser.add_argument("--isolate", choices=["process", "no-network"], default="process")
    parser.add_argument("--real-time", action="store_true")
    wanted = parser.parse_args()
    rng = np.random.default_rng(0)
    images = {camera: rng.integers(0, 256, (1, 1, 84, 84, 3), np.uint8) for camera in ("agentview", "wrist")}
    seen = Observation(images, rng.normal(size=(1, 1, 11)).astype(np.float32))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "at_once.py"
        file.write_text(POLICY)
        values = {"serve": {"target": f"{file}:AtOnce"}, "isolate": wanted.isolate}
        with closing(RemotePolicy(registry.task("Lift"), RemoteConfig.parse(values, "benchmark"))) as policy:
            policy.place("cpu")
            policy.reset([0], [0])
            policy.act(seen, [0])
            if wanted.real_time:
                prefer_all()
            walls, told = [], []
            for _ in range(wanted.decisions + 100):
                began = time.perf_counter()
                policy.act(seen, [0])
                walls.append((time.perf_counter() - began) * 1e3)
                told.append((policy.server_cost().infer_s or 0.0) * 1e3)
    added = np.array(walls[100:]) - np.array(told[100:])
    print(
        f"{wanted.isolate}: {wanted.decisions} decisions, load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores"
        f"{', real-time priority' if wanted.real_time else ''}"
    )
    for name, q in (("p50", 50), ("p95", 95), ("p99", 99)):
        print(f"added {name}: {np.percentile(added, q):.3f} ms")


if __name__ == "__main__":
    main()
