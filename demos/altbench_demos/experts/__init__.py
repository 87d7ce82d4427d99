"""Scripted experts, one file per task, and what they share."""
