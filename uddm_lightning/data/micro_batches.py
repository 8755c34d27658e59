"""Check that optimizer steps and validations divide into whole micro-batches."""

from uddm_lightning.core.errors import InputError


def check_interval(interval: int, accumulation: int) -> None:
    """Check that no measurement falls within an optimizer step.

    Args:
        interval: micro-batches from one validation to the next.
        accumulation: micro-batches of a step.

    Raises:
        InputError: with key and value.
    """
    if interval % accumulation:
        raise InputError(
            f"`trainer.val_check_interval` is {interval} micro-batches, which is no whole number of steps of "
            f"{accumulation} (`trainer.accumulate_grad_batches`); choose a multiple of {accumulation}."
        )


def check_batch_size(batch_size: int, world_size: int, accumulation: int) -> None:
    """Check that a batch divides evenly among processes and micro-batches.

    Raises:
        InputError: it does not.
    """
    if batch_size % (accumulation * world_size):
        raise InputError(
            f"`data.batch_size` is {batch_size}, the rows of an optimizer step, and is not divisible by {world_size} "
            f"process(es) x {accumulation} accumulated micro-batch(es); choose a multiple of "
            f"{accumulation * world_size}."
        )
