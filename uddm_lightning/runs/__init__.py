"""A run on disk: its folder, its checkpoints, and a trained model loaded from them."""
