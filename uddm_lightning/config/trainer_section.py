"""Check and read values of the section `trainer` before there is a trainer."""

from uddm_lightning.core.errors import InputError


def check_precision(precision: object, on_cpu: bool) -> None:
    """Refuse float16 with a scaled loss on a CPU, where Lightning would train in bfloat16 instead.

    Raises:
        InputError: with the way out.
    """
    if on_cpu and str(precision) in ("16", "16-mixed"):
        raise InputError(
            f"`trainer.precision` is {precision}, which a CPU does not have, and Lightning would take bf16-mixed in "
            "its place. Set `--trainer.precision bf16-mixed` or `32-true`, or train on a GPU."
        )


def device_count(devices: object) -> int:
    """Return the number of devices that `trainer.devices` asks for; 1 if it leaves the number to Lightning."""
    words = devices if isinstance(devices, list) else str(devices).split(",")
    if len(words) == 1 and not isinstance(devices, list):
        return max(1, int(words[0])) if words[0].strip().lstrip("-").isdigit() else 1
    return len(words)
