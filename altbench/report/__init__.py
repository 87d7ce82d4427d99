"""Output for readers: tables, figures, contact sheets, films, comparisons of runs."""
