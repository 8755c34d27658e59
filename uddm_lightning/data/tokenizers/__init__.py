"""Tokenizers: map lines of text to ids."""
