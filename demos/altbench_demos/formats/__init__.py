"""Importers and exporters of other projects' formats, and what they share."""
