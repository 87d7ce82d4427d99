"""Run the command line as `python -m altbench`."""

from altbench.cli import main

if __name__ == "__main__":
    main()
