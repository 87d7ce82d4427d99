"""Child processes that do not outlive the process that wanted their work."""

from __future__ import annotations

import os
import threading
import time

CHECK_S = 1.0


def end_with(parent: int) -> None:
    """End this process, within a second or so, when its parent process `parent` is gone, even by kill -9."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)
