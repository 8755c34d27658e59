"""Statistics: intervals and n-grams."""
