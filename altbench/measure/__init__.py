"""What a decision costs: time and memory, of checkpoints and of untrained policies."""
