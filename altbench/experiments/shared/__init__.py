"""What several experiments share: presets, audits, detectors, tables and texts."""
