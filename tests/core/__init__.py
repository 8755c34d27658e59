"""Tests of the mathematical core, each formula judged by a slower and simpler way to the same number."""
