"""Foreign formats of demonstrations: importers and exporters, and what they share."""
