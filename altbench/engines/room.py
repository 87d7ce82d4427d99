"""Whether a run's folder has room for what is left of the run, before any work."""

from __future__ import annotations

import shutil

from altbench.core.errors import AltbenchError
from altbench.results.run import Run
from altbench.runner.estimate import costs_of, size_in_words, total
from altbench.runner.jobs import CollectJob
from altbench.runner.main import needs_data, pending_jobs
from altbench.system.files import write_text

PROBE_BYTES = 2**20


def check_room(run: Run) -> None:
    """Raise AltbenchError if the folder of `run` cannot be written, or has too little room.

    What is left is estimated as a dry run does.
    """
    probe = run.root / ".probe"
    try:
        write_text(probe, " " * PROBE_BYTES)
        probe.unlink()
    except OSError as error:
        raise AltbenchError(f"{run.root}: expected a folder with room, got: {error.strerror or error}") from None
    missing = [CollectJob(task) for task in run.data if needs_data(run, task)]
    jobs = {job.key: job for job in [*missing, *pending_jobs(run)]}
    needed, free = total(costs_of(run, jobs).values(), 1).bytes, shutil.disk_usage(run.root).free
    if needed > free:
        raise AltbenchError(
            f"{run.root}: the rest of the run takes about {size_in_words(needed)}, and {size_in_words(free)} are free; "
            "make room, or choose another --out"
        )
