"""The commands about submissions: `submit`, `leaderboard` and `certify`."""
