"""What the processes of a run exchange."""

from torch import nn


def keep_constants_local(module: nn.Module) -> None:
    """Exclude buffers that checkpoints do not hold from what DDP sends before each step.

    Such a buffer must be a constant that every process computes itself, such as the frequencies of a position encoding;
    one that changes would also be lost in a checkpoint. DDP would send those of the first process before each forward
    pass, which costs a collective for each step.

    Args:
        module: the module that DDP will wrap. Call this before.

    Example:
        >>> from torch import nn
        >>> from uddm_lightning.backbones import DiT
        >>> network = nn.Sequential(DiT(27), nn.BatchNorm1d(8))
        >>> keep_constants_local(network)
        >>> sorted(network._ddp_params_and_buffers_to_ignore)
        ['0.rotary_emb.inv_freq', '0.sigma_map.frequencies']
        >>> sorted(name for name, _ in network.named_buffers() if name.startswith("1"))
        ['1.num_batches_tracked', '1.running_mean', '1.running_var']
    """
    stored = module.state_dict(keep_vars=True).keys()
    # torch documents no public setter; DDP reads this attribute of the module that it wraps
    module._ddp_params_and_buffers_to_ignore = [name for name, _ in module.named_buffers() if name not in stored]  # type: ignore[assignment] # a list, not a tensor
