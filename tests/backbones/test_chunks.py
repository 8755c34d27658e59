"""Sizes of chunks of logits on each kind of device."""

import pytest
import torch

from uddm_lightning.backbones import chunks
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices, elements_in_memory

V = 30_522


@pytest.mark.parametrize(("memory", "tokens", "count"), [(80e9, 65_536, 8), (8e9, 65_536, 60), (8e9, 1024, 1)])
def test_chunks_follow_the_memory_of_the_device(memory: float, tokens: int, count: int) -> None:
    slices = chunk_slices(tokens, V, elements_in_memory(memory))
    assert len(slices) == count
    assert len({part.stop - part.start for part in slices}) <= 2, "kernels are planned for each shape"
    assert [part.start for part in slices[1:]] == [part.stop for part in slices[:-1]]
    assert (slices[0].start, slices[-1].stop) == (0, tokens)
    largest = (slices[0].stop - slices[0].start) * V
    assert largest * chunks.BYTES_PER_ELEMENT <= memory / 8


@pytest.mark.parametrize("memory", [0, 1e3, 8e9])
def test_a_chunk_has_at_least_one_token(memory: float) -> None:
    assert len(chunk_slices(3, 10**12, elements_in_memory(memory))) == 3
    assert chunk_slices(0, V, elements_in_memory(memory)) == []


def test_chunks_of_a_cpu_fit_its_cache() -> None:
    assert chunk_elements(torch.device("cpu")) == 2**22
    slices = chunk_slices(1024, V, chunk_elements(torch.device("cpu")))
    assert [part.stop - part.start for part in slices] == [128] * 8


def test_a_device_of_unknown_memory_counts_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(chunks, "_memory", chunks._memory.__wrapped__)
    for device in ("cuda", "mps"):
        assert chunk_elements(torch.device(device)) == elements_in_memory(8e9)
