"""One episode: its loop, chunks of actions, perturbations, and records."""
