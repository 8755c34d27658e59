"""Packings: arrange text in rows of equal length."""
