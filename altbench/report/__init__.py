"""What readers see: tables, figures, contact sheets, films, and the comparison of two runs."""
