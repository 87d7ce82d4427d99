"""Verifying an archive: the checks, by their names, and the verdict."""
