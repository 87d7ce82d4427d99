"""Scripted experts, a file for each task, and what they share."""
