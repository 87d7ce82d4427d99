"""Statistics in closed form: rates, paired tests, scores, distances of trajectories, the memorisation score."""
