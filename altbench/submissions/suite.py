"""What the leaderboard asks of a submission, and the numbers that say which rules were in force."""

from __future__ import annotations

SCHEMA = 1
"""The number of the archive's layout. Another number is refused."""
SUITE_VERSION = 1
"""The version of the rules below. Numbers of two versions are never compared."""
ROOT_SEED = 0
"""The root of all episodes' seeds. With any other root, one could look for lucky episodes."""
SPLITS = ("recall", "uniform")
"""The splits that every checkpoint of a submission must have been played on, unperturbed."""
LEAST_EPISODES = 20
"""The fewest episodes of each of them. Fewer than `stats.rates.RANKED_FROM` are shown, and not ranked."""
