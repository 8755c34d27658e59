"""Keyed randomness: every random number is a pure function of integers.

A key is made by folding integers (a seed, a stream, a step, a row, a position) into 64 bits. The same integers give the
same number on every device, in every batch and in every process, so a result cannot depend on batch size, world size,
worker count or restarts, and drawing one number never moves another.

The mixing function is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).

Shapes: keys broadcast against each other like any tensors.
"""

from enum import IntEnum

import torch
from torch import Tensor

_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed integer
_FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
_ALL_BITS = 2**64 - 1
_FEISTEL_ROUNDS = 6


class Stream(IntEnum):
    """What a random number is used for; streams never share numbers."""

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


def _shift(bits: Tensor, places: int) -> Tensor:
    """Logical shift to the right of signed 64-bit integers."""
    return (bits >> places).bitwise_and_((1 << (64 - places)) - 1)


def _mix(bits: Tensor) -> Tensor:
    # in place where the tensor is this function's own: keys of a small batch cost more calls than arithmetic
    bits = _shift(bits, 30).bitwise_xor_(bits).mul_(_FIRST)
    bits = _shift(bits, 27).bitwise_xor_(bits).mul_(_SECOND)
    return _shift(bits, 31).bitwise_xor_(bits)


def _mixed(bits: int | Tensor) -> int | Tensor:
    """The same for plain integers too, at a twentieth of what a tensor with one element costs."""
    if isinstance(bits, Tensor):
        return _mix(bits)
    bits &= _ALL_BITS
    bits = (bits ^ bits >> 30) * _FIRST & _ALL_BITS
    bits = (bits ^ bits >> 27) * _SECOND & _ALL_BITS
    bits ^= bits >> 31
    return bits - (1 << 64) if bits >> 63 else bits


def key(*parts: int | Tensor) -> Tensor:
    """Folds integers into one 64-bit key.

    Args:
        parts: integers or int64 tensors that broadcast against each other. Put the large ones last: the work on the
            earlier ones is then done once.

    Returns:
        int64 keys in the broadcast shape of `parts`.
    """
    folded: int | Tensor = _GOLDEN
    for part in parts:
        folded = _mixed(_mixed(folded + _GOLDEN) + part)
    return folded if isinstance(folded, Tensor) else torch.tensor(folded)


def uniform(*parts: int | Tensor) -> Tensor:
    """Uniform numbers on [0, 1) with 53 random bits, float64, in the broadcast shape of `parts` (see `key`)."""
    return _shift(key(*parts), 11).double() * 2.0**-53


def integers(high: int, *parts: int | Tensor) -> Tensor:
    """Uniform integers on [0, high), int64, in the broadcast shape of `parts` (see `key`)."""
    if high < 1:
        raise ValueError(f"`high` must be at least 1, got {high}.")
    return (uniform(*parts) * high).long()


def permutation(indices: Tensor, size: int, *parts: int | Tensor) -> Tensor:
    """Evaluates a keyed random permutation of 0 ... size - 1 at given places, without building it.

    A balanced Feistel network on the smallest even number of bits that holds `size`, walked along its cycle until the
    value lies below `size` (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    Args:
        indices: int64 places, each in [0, size).
        size: number of elements.
        parts: the key; tensors broadcast against `indices`, so that each place may have a permutation of its own.

    Returns:
        int64 values in [0, size), of the shape of `indices`.
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1, got {size}.")
    # halves of one or two bits would favour some permutations of a few elements
    half = max(3, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    secret = key(*parts).to(indices.device).broadcast_to(indices.shape)

    def encrypt(value: Tensor, secret: Tensor) -> Tensor:
        left, right = value >> half, value & mask
        for turn in range(_FEISTEL_ROUNDS):
            left, right = right, left ^ (key(secret, turn, right) & mask)
        return (left << half) | right

    value = encrypt(indices, secret)
    while bool((outside := value >= size).any()):
        value[outside] = encrypt(value[outside], secret[outside])
    return value


def sample_without_replacement(count: int, size: int, keys: Tensor) -> Tensor:
    """Draws different integers of [0, size), one after another, evenly from those that are left.

    The work grows with the square of `count`, and not with `size`.

    Args:
        count: how many, in [1, size].
        size: how many there are.
        keys: int64 keys (...).

    Returns:
        int64 (..., count), in the order in which they were drawn.
    """
    if not 1 <= count <= size:
        raise ValueError(f"`count` must be from 1 to `size` = {size}, got {count}.")
    turns = torch.arange(count, device=keys.device).view(-1, *[1] * keys.dim())
    places = (uniform(keys, turns) * (size - turns)).long()  # among those that are left
    drawn = [places[0]]
    ordered = places[:1]  # the drawn ones from the smallest on: the i-th has (itself - i) undrawn ones before it
    for turn, place in enumerate(places[1:], 1):
        value = place + (ordered - turns[:turn] <= place).sum(0)
        drawn.append(value)
        below, above = torch.full_like(ordered[:1], -1), torch.full_like(ordered[:1], size)
        ordered = torch.maximum(torch.cat([below, ordered]), torch.minimum(torch.cat([ordered, above]), value))
    return torch.stack(drawn, -1)
