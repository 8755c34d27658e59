"""Steps and validations that no whole number of micro-batches makes are refused."""

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.micro_batches import check_batch_size, check_interval


def test_a_batch_divides_among_processes_and_micro_batches() -> None:
    check_batch_size(64, world_size=4, accumulation=2)
    with pytest.raises(InputError, match=r"`data\.batch_size` is 60,.* choose a multiple of 8"):
        check_batch_size(60, world_size=4, accumulation=2)


def test_a_validation_falls_between_two_steps() -> None:
    check_interval(6, accumulation=3)
    with pytest.raises(InputError, match=r"`trainer\.val_check_interval` is 7 micro-batches,.* a multiple of 3"):
        check_interval(7, accumulation=3)
