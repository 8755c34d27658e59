"""The parser of configurations, the ranges of their values and the meaning of their keys."""
