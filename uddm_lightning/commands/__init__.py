"""One file per command: it parses arguments and prints."""
