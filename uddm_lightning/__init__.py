"""Uniform-state discrete diffusion language models, trained on nested subsets and measured as associative memories."""

__version__ = "0.1.0"
