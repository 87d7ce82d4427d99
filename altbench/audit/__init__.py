"""The audit of one checkpoint against its demonstrations: does its policy generate
actions, or recall them?
"""
