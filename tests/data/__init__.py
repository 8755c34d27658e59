"""Tests of sources, tokenizers, packings, splits, subsets, datasets and messages."""
