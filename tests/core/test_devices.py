import pytest
import torch
from torch import Tensor

from tests.support.devices import HostReads, run_as_on_cuda
from uddm_lightning.core.devices import replace_where, true_indices, use_tensor_cores


@pytest.mark.parametrize("n", [1, 5, 8, 13])
def test_indices_of_an_asynchronous_device_are_padded_with_others(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    for code in range(2**n):
        mask = (torch.tensor(code) >> torch.arange(n)) % 2 == 1
        exact = true_indices(mask, smallest=4)
        with monkeypatch.context() as patch:
            run_as_on_cuda(patch)
            padded = true_indices(mask, smallest=4)
        assert exact.tolist() == [place for place in range(n) if code >> place & 1]
        assert torch.equal(padded[: len(exact)], exact)
        assert len(set(padded.tolist())) == len(padded) >= len(exact)
        assert len(padded) < max(2 * len(exact), 5)
        sizes.add(len(padded))
    assert sizes == {1: {0, 1}, 5: {0, 4, 5}, 8: {0, 4, 8}, 13: {0, 4, 8, 13}}[n]


def test_values_are_replaced_without_a_read_on_an_asynchronous_device(monkeypatch: pytest.MonkeyPatch) -> None:
    values, kept, mask = torch.arange(9) ** 2, -torch.arange(9), torch.arange(9) % 3 == 1
    asked: list[int] = []

    def some(chosen: Tensor | slice) -> Tensor:
        asked.append(len(values[chosen]))
        return values[chosen]

    with HostReads() as reads:
        exact = replace_where(mask, some, kept)
    assert reads.found
    run_as_on_cuda(monkeypatch)
    with HostReads() as reads:
        assert torch.equal(replace_where(mask, some, kept), exact)
    assert reads.found == ["aten.equal.default"], "only that of this test"
    assert exact.tolist() == [0, 1, -2, -3, 16, -5, -6, 49, -8]
    assert asked == [3, 9]


def test_nothing_replaced_leaves_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, never = torch.arange(3), torch.zeros(3, dtype=torch.bool)
    for _ in range(2):
        result = replace_where(never, lambda some: kept[some] + 1, kept)
        assert torch.equal(result, kept)
        assert result.data_ptr() != kept.data_ptr()
        run_as_on_cuda(monkeypatch)


@pytest.mark.parametrize(("before", "after"), [("highest", "high"), ("medium", "medium")])
def test_float32_products_on_cuda_use_tensor_cores(before: str, after: str) -> None:
    try:
        torch.set_float32_matmul_precision(before)
        use_tensor_cores(torch.device("cpu"))
        assert torch.get_float32_matmul_precision() == before
        use_tensor_cores(torch.device("cuda"))
        assert torch.get_float32_matmul_precision() == after
    finally:
        torch.set_float32_matmul_precision("highest")
