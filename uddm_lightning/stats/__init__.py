"""Statistics: intervals, a paired test, n-grams and Markov chains."""
