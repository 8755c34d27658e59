"""Batch types, errors, file writing and keyed random numbers, used by every other package."""
