"""Simulated tasks over one robosuite adapter, and perturbations of their images."""
