"""Detokenizers: undo the tokenization of benchmark corpora."""
