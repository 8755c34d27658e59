"""Values of the section `trainer`, before there is a trainer."""

import pytest

from uddm_lightning.config.trainer_section import check_precision, device_count
from uddm_lightning.core.errors import InputError


@pytest.mark.parametrize(
    ("devices", "number"), [(2, 2), ("3", 3), ("auto", 1), (-1, 1), ("-1", 1), ("0,1", 2), ([4], 1), ([0, 2, 3], 3)]
)
def test_devices_are_counted(devices: object, number: int) -> None:
    assert device_count(devices) == number


def test_float16_with_a_scaled_loss_needs_a_gpu() -> None:
    for precision in ("16-mixed", 16):
        check_precision(precision, on_cpu=False)
        with pytest.raises(InputError, match=r"`trainer\.precision` is 16.*Set `--trainer\.precision bf16-mixed`"):
            check_precision(precision, on_cpu=True)
    check_precision("bf16-mixed", on_cpu=True)
