"""One episode: its records, chunks of actions, perturbations at work, and the loop."""
