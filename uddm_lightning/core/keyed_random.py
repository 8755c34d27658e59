"""Counter-based random numbers: every number is a pure function of integers.

`key` folds integers (a seed, a stream, a step, a row, a position) into 64 bits. Equal integers give equal numbers on
every device, in every batch and in every process. Results therefore do not depend on batch size, world size, number of
workers or restarts, and one draw never changes another.

The mixing function is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).

Shapes: keys broadcast against each other like any tensors.
"""

from enum import IntEnum

import torch
from torch import Tensor

from uddm_lightning.core.errors import check_at_least

# constants of SplitMix64, as signed integers
_INCREMENT = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15
_MULTIPLIER_1 = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
_ALL_BITS = 2**64 - 1
_FEISTEL_ROUNDS = 6


class Stream(IntEnum):
    """Purpose of a random number. Different streams give independent numbers."""

    SUBSET = 1
    ROWS = 2
    TIMES = 3
    TRAINING = 4
    MEASURING = 5
    CORRUPTION = 6
    CHAIN = 7
    DROPOUT = 8
    HELD_OUT = 9
    PROBE = 10
    SAMPLES = 11
    MARKOV = 12
    GAUSSIAN = 13
    RANDOM = 14
    CANARIES = 15
    SPINS = 16
    CORRECTION = 17


def _shift(bits: Tensor, places: int) -> Tensor:
    """Shift signed 64-bit integers to the right, and fill with zeros."""
    return (bits >> places).bitwise_and_((1 << (64 - places)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """Apply the finalizer of SplitMix64 to int64 values of any shape."""
    # in-place operations on new tensors: for a small batch, allocation costs more than arithmetic
    bits = _shift(bits, 30).bitwise_xor_(bits).mul_(_MULTIPLIER_1)
    bits = _shift(bits, 27).bitwise_xor_(bits).mul_(_MULTIPLIER_2)
    return _shift(bits, 31).bitwise_xor_(bits)


def _mix_any(bits: int | Tensor) -> int | Tensor:
    """Apply `_mix` to a tensor or to a Python integer, which is about 20 times faster than a one-element tensor."""
    if isinstance(bits, Tensor):
        return _mix(bits)
    bits &= _ALL_BITS
    bits = (bits ^ bits >> 30) * _MULTIPLIER_1 & _ALL_BITS
    bits = (bits ^ bits >> 27) * _MULTIPLIER_2 & _ALL_BITS
    bits ^= bits >> 31
    return bits - (1 << 64) if bits >> 63 else bits


def key(*parts: int | Tensor) -> Tensor:
    """Fold integers into one 64-bit key.

    Args:
        parts: integers or int64 tensors that broadcast against each other. Put large tensors last, so that the earlier
            parts are folded only once.

    Returns:
        int64 keys with the broadcast shape of `parts`.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.keyed_random import Stream, key
        >>> key(0, Stream.ROWS, torch.arange(3)).shape
        torch.Size([3])
        >>> bool(key(0, Stream.ROWS, 2) == key(0, Stream.ROWS, torch.arange(3))[2])
        True
    """
    folded: int | Tensor = _INCREMENT
    for part in parts:
        folded = _mix_any(_mix_any(folded + _INCREMENT) + part)
    return folded if isinstance(folded, Tensor) else torch.tensor(folded)


def uniform(*parts: int | Tensor) -> Tensor:
    """Return uniform numbers on [0, 1) with 53 random bits, float64, with the broadcast shape of `parts` (see `key`).

    Example:
        >>> from uddm_lightning.core.keyed_random import uniform
        >>> uniform(1, 2, 3)
        tensor(0.7481, dtype=torch.float64)
    """
    return _shift(key(*parts), 11).double() * 2.0**-53


def integers(high: int, *parts: int | Tensor) -> Tensor:
    """Return uniform integers on [0, high), int64, with the broadcast shape of `parts` (see `key`).

    Example:
        >>> import torch
        >>> from uddm_lightning.core.keyed_random import integers
        >>> integers(27, 9, torch.arange(8))
        tensor([ 9,  6,  4,  3,  3, 19, 14,  4])
    """
    check_at_least(1, high=high)
    return (uniform(*parts) * high).long()


def permutation(indices: Tensor, size: int, *parts: int | Tensor) -> Tensor:
    """Evaluate a keyed random permutation of 0, ..., size - 1 at given indices, without storing it.

    The permutation is a balanced Feistel network on the smallest even number of bits that holds `size`, with cycle
    walking: values of `size` or more are encrypted again (Black and Rogaway, "Ciphers with arbitrary finite domains",
    2002).

    Args:
        indices: int64 indices in [0, size).
        size: number of elements.
        parts: the key. Tensors broadcast against `indices`, so that each index may have its own permutation.

    Returns:
        int64 values in [0, size) with the shape of `indices`.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.keyed_random import permutation
        >>> values = permutation(torch.arange(5), 5, 0)
        >>> values.sort().values
        tensor([0, 1, 2, 3, 4])
        >>> bool(permutation(torch.tensor([3]), 5, 0) == values[3])
        True
    """
    check_at_least(1, size=size)
    # with halves of one or two bits, permutations of few elements would not be equally likely
    half = max(3, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    secret = key(*parts).to(indices.device).broadcast_to(indices.shape)

    def encrypt(value: Tensor, secret: Tensor) -> Tensor:
        left, right = value >> half, value & mask
        for round_ in range(_FEISTEL_ROUNDS):
            left, right = right, left ^ (key(secret, round_, right) & mask)
        return (left << half) | right

    value = encrypt(indices, secret)
    while bool((outside := value >= size).any()):
        value[outside] = encrypt(value[outside], secret[outside])
    return value


def sample_without_replacement(count: int, size: int, keys: Tensor) -> Tensor:
    """Draw distinct integers from [0, size), uniformly without replacement.

    The cost grows with the square of `count` and does not depend on `size`.

    Args:
        count: number of integers to draw, in [1, size].
        size: number of integers to draw from.
        keys: int64 keys (...).

    Returns:
        int64 (..., count), in the order of the draws.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.keyed_random import key, sample_without_replacement
        >>> sample_without_replacement(4, 4, key(0)).sort().values
        tensor([0, 1, 2, 3])
        >>> sample_without_replacement(2, 1000, key(torch.arange(3))).shape
        torch.Size([3, 2])
    """
    if not 1 <= count <= size:
        raise ValueError(f"`count` must be from 1 to `size` = {size}, got {count}.")
    draw_index = torch.arange(count, device=keys.device).view(-1, *[1] * keys.dim())
    ranks = (uniform(keys, draw_index) * (size - draw_index)).long()  # rank among the integers not drawn yet
    drawn = [ranks[0]]
    ordered = ranks[:1]  # integers drawn so far, ascending: `ordered[i] - i` integers below `ordered[i]` are not drawn
    for draw, rank in enumerate(ranks[1:], 1):
        value = rank + (ordered - draw_index[:draw] <= rank).sum(0)
        drawn.append(value)
        below, above = torch.full_like(ordered[:1], -1), torch.full_like(ordered[:1], size)
        ordered = torch.maximum(torch.cat([below, ordered]), torch.minimum(torch.cat([ordered, above]), value))
    return torch.stack(drawn, -1)
