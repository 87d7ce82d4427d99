"""Child processes that do not outlive the process that wanted their work."""

from __future__ import annotations

import os
import signal
import threading
import time

CHECK_S = 1.0


def init_worker(parent: int) -> None:
    """What every worker process does first: leave Ctrl-C to `parent`, and end with it."""
    # Ctrl-C reaches the whole process group; stopping the workers is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process, within a second or so, when its parent process `parent` is gone, even by kill -9."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)
