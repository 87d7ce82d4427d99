"""The contracts of tasks, policies, demonstrations and perturbations.

And what they stand on: specs, errors, names and seeds.
"""
