"""`uddm sample`: rows that a model writes, by any number of processes, in one file."""
