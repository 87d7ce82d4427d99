"""The commands about demonstrations: `altbench demos`."""
