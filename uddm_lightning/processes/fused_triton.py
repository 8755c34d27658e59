"""Triton kernels over the rows of a matrix of logits. One program of a GPU handles one row.

A row of at most `LARGEST_BLOCK` logits stays on the chip: it is read once, and its gradient is written in its place.
Longer rows are read twice for the cross-entropy, and three times for the NELBO, whose sums need the normaliser.

Shapes: N tokens, V ids.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST_BLOCK = 65_536  # logits of a row on the chip
TILE = 16_384  # logits that are read at once in a longer row
LOWEST = tl.constexpr(-3.0e38)  # below every finite logit; its difference to another number is finite


@triton.jit
def _load(row, start, V, BLOCK: tl.constexpr, dtype: tl.constexpr):
    ids = start + tl.arange(0, BLOCK)
    return ids, tl.load(row + ids, mask=ids < V, other=float("-inf")).to(dtype)


@triton.jit
def _normaliser(row, V, at, offset, BLOCK: tl.constexpr):
    """Return maximum and sum of exp(logit - maximum) of a row of several tiles, with `offset` added at one id."""
    highest = tl.full((), LOWEST, tl.float32)
    total = tl.full((), 0.0, tl.float32)
    for start in range(0, V, BLOCK):
        ids, z = _load(row, start, V, BLOCK, tl.float32)
        z = tl.where(ids == at, z + offset, z)
        new = tl.maximum(highest, tl.max(z, 0))
        total = total * tl.exp(highest - new) + tl.sum(tl.exp(z - new), 0)
        highest = new
    return highest, total


@triton.jit
def _store(row, ids, V, gradient, weight):
    # a weight of 0 also removes NaN, and the largest number of float16 replaces larger ones
    gradient = tl.where(weight == 0.0, 0.0, gradient * weight)
    if row.dtype.element_ty == tl.float16:
        gradient = tl.minimum(tl.maximum(gradient, -65504.0), 65504.0)
    tl.store(row + ids, gradient.to(row.dtype.element_ty), mask=ids < V)


@triton.jit
def nelbo_kernel(
    logits, loss, x0, xt, terms, stride, V, BLOCK: tl.constexpr, WHOLE: tl.constexpr, GRADIENT: tl.constexpr
):
    """NELBO of the uniform process; the letters are those of `uniform_nelbo.loss_and_gradient`."""
    n = tl.program_id(0).to(tl.int64)
    row = logits + n * stride
    i, o = tl.load(xt + n), tl.load(x0 + n)
    a, b, xbar = tl.load(terms + n * 6), tl.load(terms + n * 6 + 1), tl.load(terms + n * 6 + 2)
    c, constant, weight = tl.load(terms + n * 6 + 3), tl.load(terms + n * 6 + 4), tl.load(terms + n * 6 + 5)
    z_i, z_0 = tl.load(row + i).to(tl.float32), tl.load(row + o).to(tl.float32)
    # dense / x_j, up to a number that is the same for all j: 1 / x_j = 1 / b - a / b p_j / x_j. The smaller term of
    # x_j = a p_j + b is the one that is kept, so that nothing cancels in the differences between ids.
    late = a < b
    dense = tl.where(late, -c * a * a / xbar, c * a * b / xbar)
    logs = tl.full((), 0.0, tl.float32)
    ratios = tl.full((), 0.0, tl.float32)
    if WHOLE:
        ids, z = _load(row, 0, V, BLOCK, tl.float32)
        highest = tl.max(z, 0)
        p = tl.exp(z - highest)
        total = tl.sum(p, 0)
        p = p / total
        x = a * p + b
        logs = tl.sum(tl.where(ids < V, tl.log(x), 0.0), 0)
        ratio = tl.where(late, p, 1.0) / x
        ratios = tl.sum(p * ratio, 0)
    else:
        highest, total = _normaliser(row, V, -1, 0.0, BLOCK)
        for start in range(0, V, BLOCK):
            ids, z = _load(row, start, V, BLOCK, tl.float32)
            p = tl.exp(z - highest) / total
            x = a * p + b
            logs += tl.sum(tl.where(ids < V, tl.log(x), 0.0), 0)
            ratios += tl.sum(p * (tl.where(late, p, 1.0) / x), 0)
    p_i, p_0 = tl.exp(z_i - highest) / total, tl.exp(z_0 - highest) / total
    x_i, x_0 = a * p_i + b, a * p_0 + b
    excess = a * (tl.where(i == o, 1.0, 0.0) - p_i)  # xbar - x_i, without cancellation
    value = -V * excess / (xbar * x_i) - (V * tl.log(x_i) - b * logs - a * tl.log(x_0)) / xbar - constant
    tl.store(loss + n, c * value)
    if GRADIENT:
        sparse_i = c * a * V * excess / (x_i * x_i * xbar) * p_i
        sparse_0 = c * a * a / (xbar * x_0) * p_0
        sparse = sparse_i + sparse_0
        if WHOLE:
            gradient = p * (dense * (ratio - ratios) - sparse)
            gradient += tl.where(ids == i, sparse_i, 0.0) + tl.where(ids == o, sparse_0, 0.0)
            _store(row, ids, V, gradient, weight)
        else:
            for start in range(0, V, BLOCK):
                ids, z = _load(row, start, V, BLOCK, tl.float32)
                p = tl.exp(z - highest) / total
                ratio = tl.where(late, p, 1.0) / (a * p + b)
                gradient = p * (dense * (ratio - ratios) - sparse)
                gradient += tl.where(ids == i, sparse_i, 0.0) + tl.where(ids == o, sparse_0, 0.0)
                _store(row, ids, V, gradient, weight)


@triton.jit
def cross_entropy_kernel(
    logits, loss, target, at, terms, stride, V, BLOCK: tl.constexpr, WHOLE: tl.constexpr, GRADIENT: tl.constexpr
):
    """Cross-entropy after adding an offset to the logit of one id."""
    n = tl.program_id(0).to(tl.int64)
    row = logits + n * stride
    o, i = tl.load(target + n), tl.load(at + n)
    offset, weight = tl.load(terms + n * 2), tl.load(terms + n * 2 + 1)
    z_0 = tl.load(row + o).to(tl.float32) + tl.where(o == i, offset, 0.0)
    if WHOLE:
        ids, z = _load(row, 0, V, BLOCK, tl.float32)
        z = tl.where(ids == i, z + offset, z)
        highest = tl.max(z, 0)
        p = tl.exp(z - highest)
        total = tl.sum(p, 0)
        if GRADIENT:
            _store(row, ids, V, p / total - tl.where(ids == o, 1.0, 0.0), weight)
    else:
        highest, total = _normaliser(row, V, i, offset, BLOCK)
        if GRADIENT:
            for start in range(0, V, BLOCK):
                ids, z = _load(row, start, V, BLOCK, tl.float32)
                z = tl.where(ids == i, z + offset, z)
                _store(row, ids, V, tl.exp(z - highest) / total - tl.where(ids == o, 1.0, 0.0), weight)
    tl.store(loss + n, tl.log(total) - (z_0 - highest))


@triton.jit
def statistics_kernel(logits, found, top, at, stride, V, N, BLOCK: tl.constexpr, dtype: tl.constexpr):
    """Log-normaliser, entropy, log-probability of one id, and the two largest log-probabilities, in one pass."""
    n = tl.program_id(0).to(tl.int64)
    row = logits + n * stride
    highest = tl.full((), LOWEST, dtype)
    second = tl.full((), LOWEST, dtype)
    total = tl.full((), 0.0, dtype)
    weighted = tl.full((), 0.0, dtype)  # sum of exp(z - highest) (z - highest)
    best = tl.full((), 0, tl.int64)
    for start in range(0, V, BLOCK):
        ids, z = _load(row, start, V, BLOCK, dtype)
        tile_highest = tl.max(z, 0)
        tile_best = tl.min(tl.where(z == tile_highest, ids, V), 0)
        tile_second = tl.max(tl.where(ids == tile_best, float("-inf"), z), 0)
        new = tl.maximum(highest, tile_highest)
        second = tl.maximum(tl.minimum(highest, tile_highest), tl.maximum(second, tile_second))
        best = tl.where(tile_highest > highest, tile_best.to(tl.int64), best)
        shift = highest - new
        scale = tl.exp(shift)
        e = tl.exp(z - new)
        weighted = (weighted + total * shift) * scale + tl.sum(e * tl.where(e > 0.0, z - new, 0.0), 0)
        total = total * scale + tl.sum(e, 0)
        highest = new
    log_total = tl.log(total)
    own = tl.load(row + tl.load(at + n)).to(dtype)
    tl.store(found + n, highest + log_total)
    tl.store(found + N + n, log_total - weighted / total)
    tl.store(found + 2 * N + n, own - highest - log_total)
    tl.store(found + 3 * N + n, -log_total)
    tl.store(found + 4 * N + n, second - highest - log_total)
    tl.store(top + n, best)


def _shape(V: int, largest: int) -> tuple[int, bool, int]:
    """Return the number of logits that are read at once, whether they are the whole row, and the number of warps."""
    whole = largest >= V
    block = triton.next_power_of_2(V) if whole else TILE
    return block, whole, min(32, max(4, block // 1024))


def nelbo(logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, terms_N6: Tensor, needs_gradient: bool) -> Tensor:
    """Return the NELBO per token, float32 (N,), and write its weighted gradient over the logits.

    Args:
        logits_NV: leave-one-out logits in float32, bfloat16 or float16, with contiguous rows.
        x0_N: int64 clean ids.
        xt_N: int64 noisy ids.
        terms_N6: float32 a, b, xbar, c, constant of `uniform_nelbo.loss_and_gradient`, and the weight of the gradient.
        needs_gradient: whether to write the gradient.
    """
    N, V = logits_NV.shape
    loss_N = torch.empty(N, device=logits_NV.device)
    block, whole, warps = _shape(V, LARGEST_BLOCK)
    nelbo_kernel[(N,)](
        logits_NV, loss_N, x0_N, xt_N, terms_N6, logits_NV.stride(0), V, block, whole, needs_gradient, num_warps=warps
    )
    return loss_N


def cross_entropy(logits_NV: Tensor, target_N: Tensor, at_N: Tensor, terms_N2: Tensor, needs_gradient: bool) -> Tensor:
    """Return the cross-entropy per token, float32 (N,), and write its weighted gradient over the logits.

    Args:
        logits_NV: logits in float32, bfloat16 or float16, with contiguous rows.
        target_N: int64 targets.
        at_N: int64 ids whose logit the offset is added to.
        terms_N2: float32 offset and weight of the gradient.
        needs_gradient: whether to write the gradient.
    """
    N, V = logits_NV.shape
    loss_N = torch.empty(N, device=logits_NV.device)
    block, whole, warps = _shape(V, LARGEST_BLOCK)
    cross_entropy_kernel[(N,)](
        logits_NV,
        loss_N,
        target_N,
        at_N,
        terms_N2,
        logits_NV.stride(0),
        V,
        block,
        whole,
        needs_gradient,
        num_warps=warps,
    )
    return loss_N


def statistics(logits_NV: Tensor, at_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return five statistics (5, N) of each row and the most probable id (N,); see `row_statistics`."""
    N, V = logits_NV.shape
    double = logits_NV.dtype == torch.float64
    found_5N = torch.empty(5, N, device=logits_NV.device, dtype=torch.float64 if double else torch.float32)
    top_N = torch.empty(N, device=logits_NV.device, dtype=torch.int64)
    block, _, warps = _shape(V, TILE)
    statistics_kernel[(N,)](
        logits_NV,
        found_5N,
        top_N,
        at_N,
        logits_NV.stride(0),
        V,
        N,
        block,
        tl.float64 if double else tl.float32,
        num_warps=warps,
    )
    return found_5N, top_N
