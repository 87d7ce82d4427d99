"""Policies in another process: openpi's protocol, both ways, and the processes themselves."""
