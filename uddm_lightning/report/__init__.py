"""Figures and a page of a sweep."""
