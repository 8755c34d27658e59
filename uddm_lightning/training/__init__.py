"""Training: the LightningModule, the average of its weights, learning rates and the guard of the loss."""
