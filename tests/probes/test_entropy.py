"""The probe of the entropy on oracles. `test_exact_values.py` compares its values with enumeration."""

import math

import pytest
import torch

from tests.support.oracle_worlds import every_noise, measured, memory, unigram


@every_noise
def test_entropy_of_the_unigram_model_is_that_of_the_frequencies(mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    f_V = torch.softmax(torch.arange(3, dtype=torch.float64), 0)
    record = measured(unigram(3, 3, mask=mask), rows=50, t=0.5, steps=2, monkeypatch=monkeypatch).entropy
    expected = float(torch.special.entr(f_V).sum())
    assert record["entropy"] == pytest.approx(expected)
    assert record["entropy_leave_one_out"] == pytest.approx(expected)
    assert record["self_token_influence"] == pytest.approx(0.0, abs=1e-12)


def test_entropy_of_one_memorized_row_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    record = measured(memory(3, 3, n=1), rows=50, t=0.5, steps=2, monkeypatch=monkeypatch).entropy
    assert record["entropy"] == pytest.approx(0.0, abs=1e-9)
    assert record["entropy"] < math.log(3)
