"""What a run needs, before it begins: downloads, memory, disk and devices."""
