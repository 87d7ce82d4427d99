"""Engines: how many processes and machines finish one run together.

The core knows none of them. Workers claim jobs by files in the run's folder; Ray and
SLURM have an adapter each, and need their own extra.
"""
