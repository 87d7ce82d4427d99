"""The contracts: tasks, policies, demonstrations, perturbations; checked settings, errors, names and seeds."""
