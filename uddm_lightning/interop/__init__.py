"""Models from elsewhere and for elsewhere: checkpoints in Duo's layout become runs, runs become safetensors."""

from uddm_lightning.interop.exported import load_exported as load_exported
