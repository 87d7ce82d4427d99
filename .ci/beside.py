"""Run commands side by side, print what each said, and fail if one failed: `python .ci/beside.py "mypy" "ruff check ."`.

Checks of one process each leave the other processors idle if they run in turn.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence


def main(commands: Sequence[str]) -> int:
    """Run all commands at once; return 1 if one failed, else 0."""
    started = []
    for command in commands:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe could fill while another command is waited for
        started.append((command, said, subprocess.Popen(shlex.split(command), stdout=said, stderr=subprocess.STDOUT)))
    failed = 0
    for command, said, process in started:
        status = process.wait()
        said.seek(0)
        print(f"$ {command}\n{said.read().decode(errors='replace')}", end="", flush=True)
        if status:
            print(f"`{command}` failed with exit status {status}", flush=True)
            failed = 1
        said.close()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
