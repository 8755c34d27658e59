"""Statistics without torch: intervals, n-grams and Markov chains."""
