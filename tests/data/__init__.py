"""Tests of the data room: every promise about rows, splits, subsets, streams and messages."""
