"""What to run: sweep files, their rows and columns, keys, and the plan of a sweep."""
