"""Run the command line as `python -m altbench.cli`."""

from altbench.cli import main

main()
