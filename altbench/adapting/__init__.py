"""Finding the adapter of a policy whose conventions are unknown or wrong."""
