"""Requirements of a run: downloads, memory, disk space and devices."""
