"""Types and tools that every other package uses: batches, errors, files and keyed random numbers."""
