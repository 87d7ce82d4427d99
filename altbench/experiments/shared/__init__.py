"""What several experiments share: sweeps, audits, detectors, tables and texts."""
