"""Statistics in closed form: rates, paired tests, scores, distances, memorisation."""
