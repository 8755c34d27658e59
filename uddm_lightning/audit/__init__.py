"""Audit of a trained model: membership of sequences, exposure of canaries, extraction, and a baseline without model."""
