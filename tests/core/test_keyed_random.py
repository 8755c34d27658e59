import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.support.toy_worlds import QUIET, SMALLEST_P, assert_frequencies
from uddm_lightning.core import keyed_random
from uddm_lightning.core.keyed_random import Stream, integers, key, permutation, sample_without_replacement, uniform

INT64 = st.integers(-(2**63), 2**63 - 1)
FROZEN = {
    "key(0)": -3642288131749336026,
    "key(3, CHAIN, 17, 5)": -8542547517382555428,
    "uniform(1, 2, 3)": 0.7480565173888915,
    "integers(27, 9, 0..7)": [9, 6, 4, 3, 3, 19, 14, 4],
}
SIZES = sorted({1, 2, 3, 5, 6, 7, 10, 100, 1000} | {2**k + d for k in range(2, 13) for d in (-1, 0, 1)})


def unsigned(bits: torch.Tensor) -> int:
    return int(bits) % 2**64


@pytest.mark.parametrize(
    ("state", "published"),
    [
        (0, 0xE220A8397B1DCDAF),
        (1234567, 6457827717110365317),
        (1234567 + 0x9E3779B97F4A7C15, 3203168211198807973),
    ],
)
def test_mixing_is_splitmix64(state: int, published: int) -> None:
    """Compare with published first outputs of SplitMix64."""
    bits = (state + 0x9E3779B97F4A7C15) % 2**64
    assert unsigned(keyed_random._mix(torch.tensor(bits - 2**64 if bits >= 2**63 else bits))) == published


def test_numbers_never_change() -> None:
    """Stored results depend on these numbers; changing them requires a new major version."""
    assert int(key(0)) == FROZEN["key(0)"]
    assert int(key(3, Stream.CHAIN, 17, 5)) == FROZEN["key(3, CHAIN, 17, 5)"]
    assert float(uniform(1, 2, 3)) == FROZEN["uniform(1, 2, 3)"]
    assert integers(27, 9, torch.arange(8)).tolist() == FROZEN["integers(27, 9, 0..7)"]


def test_stream_numbers_are_distinct_and_fixed() -> None:
    numbers = {stream.name: int(stream) for stream in Stream}
    assert len(set(numbers.values())) == len(Stream.__members__) == len(numbers)
    assert numbers["SUBSET"] == 1
    assert numbers["CORRUPTION"] == 6
    assert numbers["CHAIN"] == 7


@QUIET
@given(st.lists(INT64, min_size=1, max_size=5))
def test_same_parts_give_the_same_number(parts: list[int]) -> None:
    assert int(key(*parts)) == int(key(*parts))
    assert int(key(*parts)) == int(key(*(torch.tensor(part) for part in parts)))
    assert float(uniform(*parts)) == float(uniform(*parts))


@QUIET
@given(st.lists(INT64, min_size=1, max_size=5), st.data())
def test_every_part_changes_the_key(parts: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(parts) - 1))
    other = list(parts)
    other[place] = data.draw(INT64.filter(lambda value: value != parts[place]))
    assert int(key(*parts)) != int(key(*other))


def test_order_and_number_of_parts_change_the_key() -> None:
    assert len({int(key(*parts)) for parts in permutations((1, 2, 3))}) == 6
    assert len({int(key(*[0] * count)) for count in range(8)}) == 8
    assert int(key(1, 0)) != int(key(1))
    assert int(key(0, 1)) != int(key(1))


def test_every_bit_of_every_part_flips_half_of_the_bits() -> None:
    parts = [torch.arange(2000) * 7919 + place for place in range(3)]
    before = key(*parts)
    for place in range(3):
        for bit in range(64):
            changed = list(parts)
            changed[place] = parts[place] ^ (1 << bit if bit < 63 else -(2**63))
            flipped = (before ^ key(*changed)).numpy().view(np.uint64)
            share = np.bitwise_count(flipped).mean() / 64
            assert abs(share - 0.5) < 0.01, (place, bit, share)


def test_a_million_keys_do_not_collide() -> None:
    keys = key(5, torch.arange(1000)[:, None], torch.arange(1000))
    assert len(keys.unique()) == 1_000_000


def test_broadcasting_equals_single_calls() -> None:
    rows, places = torch.arange(100, 107), torch.arange(11)
    whole = key(3, rows[:, None], Stream.CHAIN, places)
    assert whole.shape == (7, 11)
    assert whole.dtype == torch.int64
    for i, row in enumerate(rows.tolist()):
        for j, place in enumerate(places.tolist()):
            assert int(whole[i, j]) == int(key(3, row, Stream.CHAIN, place))
    assert torch.equal(torch.cat([key(3, part[:, None], Stream.CHAIN, places) for part in rows.split(3)]), whole)
    assert torch.equal(torch.cat([uniform(whole[:2]), uniform(whole[2:])]), uniform(whole))
    assert torch.equal(torch.cat([integers(9, whole[:2], 1), integers(9, whole[2:], 1)]), integers(9, whole, 1))


def test_global_generator_is_neither_used_nor_advanced() -> None:
    torch.manual_seed(0)
    before, state = uniform(1, torch.arange(5)), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(uniform(1, torch.arange(5)), before)
    torch.manual_seed(0)
    uniform(1, torch.arange(5))
    permutation(torch.arange(5), 5, 1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("stream", list(Stream))
def test_uniform_is_uniform(stream: Stream) -> None:
    u = uniform(0, stream, torch.arange(200)[:, None], torch.arange(500)).flatten()
    assert u.dtype == torch.float64
    assert 0.0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1.0
    assert torch.equal((u * 2**53).long().double(), u * 2**53)
    assert stats.kstest(u.numpy(), "uniform").pvalue > SMALLEST_P
    assert_frequencies(torch.bincount((u * 256).long(), minlength=256), torch.full((256,), 1 / 256))
    low_bits = (u * 2**53).long() % 64
    assert_frequencies(torch.bincount(low_bits, minlength=64), torch.full((64,), 1 / 64))


@pytest.mark.parametrize("neighbour", ["position", "step", "row", "stream", "seed", "use"])
def test_neighbouring_keys_are_independent(neighbour: str) -> None:
    rows, places = torch.arange(250)[:, None], torch.arange(400)
    steps = {name: int(name == neighbour) for name in ("position", "step", "row", "stream", "seed", "use")}

    def draw(far: int) -> torch.Tensor:
        at = {name: far * step for name, step in steps.items()}
        return uniform(
            at["seed"], 6 + at["stream"], 40 + at["step"], rows + at["row"], places + at["position"], at["use"]
        )

    one, other = draw(0).flatten(), draw(1).flatten()
    assert stats.pearsonr(one.numpy(), other.numpy()).pvalue > SMALLEST_P
    cells = (one * 16).long() * 16 + (other * 16).long()
    assert_frequencies(torch.bincount(cells, minlength=256), torch.full((256,), 1 / 256))


@pytest.mark.parametrize("high", [1, 2, 3, 7, 27, 1000])
def test_integers_are_uniform(high: int) -> None:
    drawn = integers(high, 11, torch.arange(100 * max(high, 100)))
    assert drawn.dtype == torch.int64
    assert drawn.min() == 0
    assert drawn.max() == high - 1
    assert_frequencies(torch.bincount(drawn, minlength=high), torch.full((high,), 1 / high))


def test_integers_reach_the_ends_of_a_large_range() -> None:
    high = 30_522
    drawn = integers(high, 2, torch.arange(1_000_000))
    assert drawn.min() == 0
    assert drawn.max() == high - 1
    assert len(drawn.unique()) == high


@pytest.mark.parametrize("high", [0, -3])
def test_integers_error(high: int) -> None:
    with pytest.raises(ValueError, match=rf"^`high` must be at least 1, got {high}\.$"):
        integers(high, 1)


@pytest.mark.parametrize("size", [0, -1])
def test_permutation_error(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^`size` must be at least 1, got {size}\.$"):
        permutation(torch.arange(1), size, 1)


@pytest.mark.parametrize("size", SIZES)
def test_permutation_is_a_bijection(size: int) -> None:
    places = torch.arange(size)
    values = permutation(places, size, 8, size)
    assert torch.equal(places, torch.arange(size)), "the argument was modified"
    assert values.dtype == torch.int64
    assert torch.equal(values.sort().values, places)
    if size > 20:
        assert not torch.equal(values, places)


@QUIET
@given(st.integers(1, 3000), st.lists(INT64, max_size=3))
def test_permutation_is_a_bijection_for_any_size_and_key(size: int, parts: list[int]) -> None:
    values = permutation(torch.arange(size), size, *parts)
    assert torch.equal(values.sort().values, torch.arange(size))


@QUIET
@given(st.integers(1, 2**55), st.integers(0, 2**32))
def test_permutation_of_a_huge_range_is_evaluated_at_single_indices(size: int, seed: int) -> None:
    places = torch.tensor(sorted({0, size // 3, size // 2, size - 1}))
    values = permutation(places, size, seed)
    assert len(values.unique()) == len(places)
    assert values.min() >= 0
    assert values.max() < size
    assert [int(permutation(place, size, seed)) for place in places] == values.tolist()


def test_permutation_does_not_depend_on_the_batch() -> None:
    whole = permutation(torch.arange(1000), 1000, 3)
    assert torch.equal(torch.cat([permutation(part, 1000, 3) for part in torch.arange(1000).split(77)]), whole)
    assert torch.equal(permutation(torch.arange(1000).view(10, 100), 1000, 3), whole.view(10, 100))
    assert not torch.equal(permutation(torch.arange(1000), 1000, 4), whole)


def test_permutation_with_one_key_per_index() -> None:
    keys = torch.arange(50)
    places = torch.arange(13).expand(50, 13)
    values = permutation(places, 13, 2, keys[:, None])
    for row, one in enumerate(keys.tolist()):
        assert torch.equal(values[row], permutation(torch.arange(13), 13, 2, one))
    assert len({tuple(row) for row in values.tolist()}) == 50


@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_permutations_are_about_equally_likely(size: int) -> None:
    draws = 1000 * math.factorial(size)
    values = permutation(torch.arange(size).expand(draws, size), size, 1, torch.arange(draws)[:, None])
    codes = (values * size ** torch.arange(size)).sum(1)
    _, counts = codes.unique(return_counts=True)
    assert len(counts) == math.factorial(size)
    # the standard deviation is 32; six rounds on so few bits may themselves deviate by a few percent
    assert (counts - 1000).abs().max() < 200


@pytest.mark.parametrize("size", [6, 27, 100])
def test_rows_of_a_subset_are_uniform(size: int) -> None:
    """A subset of size n is the first n elements: they must be uniform over seeds, and so must every pair of them."""
    draws = 200 * size
    first = permutation(torch.zeros(draws, dtype=torch.int64), size, 0, torch.arange(draws))
    assert_frequencies(torch.bincount(first, minlength=size), torch.full((size,), 1 / size))
    second = permutation(torch.ones(draws, dtype=torch.int64), size, 0, torch.arange(draws))
    distance = (second - first) % size
    expected = torch.full((size,), 1 / (size - 1))
    expected[0] = 0
    assert_frequencies(torch.bincount(distance, minlength=size), expected)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (4, 4), (3, 5), (2, 7)])
def test_sample_without_replacement_is_uniform_over_ordered_samples(count: int, size: int) -> None:
    orders = list(permutations(range(size), count))
    found = sample_without_replacement(count, size, key(torch.arange(1000 * len(orders)), 5))
    place = {order: number for number, order in enumerate(orders)}
    counts = torch.tensor([place[tuple(row)] for row in found.tolist()]).bincount(minlength=len(orders))
    assert_frequencies(counts, torch.ones(len(orders)))


def test_sample_without_replacement_from_a_large_range() -> None:
    keys = key(torch.arange(6000)).view(20, 300)
    found = sample_without_replacement(12, 30_000, keys)
    assert found.shape == (20, 300, 12)
    assert found.dtype == torch.int64
    assert (found.sort(-1).values.diff(dim=-1) > 0).all()
    assert 0 <= found.min() <= found.max() < 30_000
    assert torch.equal(sample_without_replacement(12, 30_000, keys[3, 7]), found[3, 7])
    for turn in (0, 5, 11):
        assert stats.kstest(found[..., turn].flatten().numpy() / 30_000, "uniform").pvalue > SMALLEST_P


@pytest.mark.parametrize("count", [0, 6])
def test_sample_without_replacement_error(count: int) -> None:
    with pytest.raises(ValueError, match=rf"^`count` must be from 1 to `size` = 5, got {count}\.$"):
        sample_without_replacement(count, 5, torch.tensor(1))
