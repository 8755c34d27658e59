"""Estimate the sizes at which memorization ends, generalization begins, and a curve is half way between its levels.

| method | curve | `n_mem`: last size with | `n_gen`: first size with | `n_half` |
|---|---|---|---|---|
| recovery | train minus test recovery | train recovery >= 0.95 | a gap equivalent to 0 | yes |
| entropy | entropy on train rows [nats] | - | - | yes |
| entropy_samples | entropy on own samples [nats] | - | - | yes |
| nelbo | test minus train NELBO [nats per token] | - | a gap equivalent to 0 | yes |

`n_mem` is the largest measured size such that it and all smaller sizes memorize. `n_gen` is the smallest measured size
such that it and all larger sizes have an equivalent gap, with test recovery above coincidence. Their intervals consist
of measured sizes, too. The interval of `n_mem` reaches from the last size up to which all surely memorize (NaN if that
may lie below all sizes) to the last size up to which all may memorize. The interval of `n_gen` ends at `n_gen` itself;
it begins at the first size from which on all gaps may be equivalent to 0.

`n_half` is the half-way point of the curve (`profile_likelihood`), if both levels were measured. A level counts as
measured if the outermost size and the next size 3 times away differ by at most a tenth of the height, or if the
outermost size is at a limit of the quantity: recovery of train rows >= 0.95, or an entropy or a gap within a tenth of
the height of 0.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.reference import TOLERANCE, TOLERANCE_NELBO
from uddm_lightning.stats.intervals import NORMAL, Interval, seeds_bounds
from uddm_lightning.transition.profile_likelihood import half_way, shapes
from uddm_lightning.transition.regimes import RECALLED

FLOAT = NDArray[np.float64]

DIFFER = (
    "The methods measure different functionals of a model, so their sizes need not agree: recovery counts the tokens "
    "that a chain restores, entropy averages the uncertainty of the predictions on train rows or on own samples, and "
    "the NELBO weights the predictions over its range of t."
)
UNDEFINED = {  # reasons why a method does not define a size
    "n_mem": "N_mem is defined for recovery only; entropy and the NELBO have no absolute level of memory",
    "n_gen": "N_gen is defined for recovery and the NELBO only; entropy is no gap between train and test rows",
}

REPLICATES = 2000
# share of replicates beyond either bound of N_half; less than 2.5 %, to cover shapes that no replicate has
BEYOND = 0.02
LEVEL = 0.1  # share of the height by which a plateau may fall, or a size differ from a limit
APART = 3.0  # ratio of the sizes that show a plateau
BACK = 0.25  # share of the height by which a curve may go back
CLEAR = 2.0  # a fall counts if it exceeds this multiple of the half width of its interval


class Quantity(NamedTuple):
    """The curve of a method.

    Attributes:
        signs: sign of each split in the sum.
        rising: whether the curve rises with the size.
        ends_at_zero: whether it ends at 0 for large sizes.
        starts_at_zero: whether 0 is its limit at small sizes.
        tolerance: largest gap that is equivalent to 0; None if the curve is no gap.
        limits: smallest and largest possible value.
    """

    signs: dict[str, float]
    rising: bool = False
    ends_at_zero: bool = False
    starts_at_zero: bool = False
    tolerance: float | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)


QUANTITIES = {
    "recovery": Quantity({"train": 1.0, "test": -1.0}, ends_at_zero=True, tolerance=TOLERANCE, limits=(-1.0, 1.0)),
    "entropy": Quantity({"train": 1.0}, rising=True, starts_at_zero=True, limits=(0.0, math.inf)),
    "entropy_samples": Quantity({"samples": 1.0}, rising=True, starts_at_zero=True, limits=(0.0, math.inf)),
    "nelbo": Quantity({"test": 1.0, "train": -1.0}, ends_at_zero=True, tolerance=TOLERANCE_NELBO),
}


class Half(NamedTuple):
    """N_half of a curve, or the reason why there is none.

    Attributes:
        size: N_half with its 95 % interval; None if the data do not support one.
        reason: why it is None.
        plateau: level at the smallest size, in the unit of the curve.
        floor: level at large sizes.
        deviance_per_df: squared distance from the nearest monotone curve, in standard errors, per degree of freedom; 0
            for a monotone curve.
    """

    size: Interval | None
    reason: str | None
    plateau: float
    floor: float
    deviance_per_df: float


def half_size(panel: Panel, quantity: Quantity, saturated: bool = False) -> Half:
    """Return N_half of the curve of a quantity, or the reason why there is none.

    Args:
        panel: measurements of all sizes and seeds.
        quantity: the curve, as a sum over splits.
        saturated: whether the smallest size is at a limit that the curve itself does not show (train recovery).
    """
    sizes = panel.sizes(*quantity.signs)
    sign = -1.0 if quantity.rising else 1.0
    signs = {split: sign * one for split, one in quantity.signs.items()}
    weights = {size: panel.weights(signs, size) for size in sizes}
    means_KN = np.array([weights[size].mean(0) for size in sizes])
    levels = [panel.mean(weights[size]) for size in sizes]
    y_K = np.array([level.value for level in levels])
    floor = 0.0 if quantity.ends_at_zero else float(y_K[-1])
    sigma_K = np.array([(level.high - level.low) / (2 * NORMAL) for level in levels])
    fit = Half(None, None, sign * float(y_K[0]), sign * floor, deviance(y_K, sigma_K))

    def nothing(reason: str) -> Half:
        return fit._replace(reason=reason)

    if len(sizes) < 3:
        return nothing(f"only {len(sizes)} size{'s were' if len(sizes) > 1 else ' was'} measured, 3 are needed")
    down, up = ("rise", "falls") if quantity.rising else ("fall", "rises")
    fall = panel.sum(means_KN[0] - means_KN[-1])
    if fall.value + CLEAR * (fall.high - fall.value) < 0:
        return nothing(f"contradictory: the curve {up} from size {sizes[0]} to size {sizes[-1]}")
    if fall.value - CLEAR * (fall.value - fall.low) <= 0:
        return nothing(f"flat: the curve does not {down} clearly above its noise, it stays near {fit.plateau:.3g}")
    height = float(y_K[0]) - floor
    for i in range(len(sizes)):
        for j in range(i + 1, len(sizes)):
            if y_K[j] - y_K[i] > BACK * height and panel.sum(means_KN[j] - means_KN[i]).low > BACK * height:
                return nothing(
                    f"misfit: the curve {up} from size {sizes[i]} to size {sizes[j]}; the deviance from a monotone one "
                    f"is {fit.deviance_per_df:.3g} per degree of freedom"
                )
    ends = [_no_level(sizes, y_K, height, down, saturated or (quantity.starts_at_zero and -y_K[0] < LEVEL * height))]
    at_zero = quantity.ends_at_zero and abs(y_K[-1]) <= LEVEL * height
    if quantity.ends_at_zero:
        ends.append("" if at_zero else f"at size {sizes[-1]} the gap is still {y_K[-1] / height:.0%} of its plateau")
    else:
        ends.append(_no_level(sizes[::-1], y_K[::-1], height, down, False))
    if any(ends):
        return nothing(f"not bracketed: {' and '.join(end for end in ends if end)}")
    return _located(panel, signs, quantity.ends_at_zero, fit)


def _no_level(sizes: list[int], y_K: FLOAT, height: float, down: str, at_limit: bool) -> str:
    """Return why the first of these sizes is not on a plateau; "" if it is."""
    if at_limit:
        return ""
    other = next((k for k, size in enumerate(sizes) if max(size / sizes[0], sizes[0] / size) >= APART), None)
    if other is None:
        return f"no second size shows whether size {sizes[0]} is on a plateau"
    between = sorted((sizes[0], sizes[other]))
    if abs(y_K[0] - y_K[other]) <= LEVEL * height:
        return ""
    share = (y_K[0] - y_K[other]) / height * (1 if sizes[0] < sizes[other] else -1)
    return f"from size {between[0]} to size {between[1]} the curve {down}s by {share:.0%} of its height"


def _located(panel: Panel, signs: dict[str, float], ends_at_zero: bool, fit: Half) -> Half:
    """Return N_half over all seeds with at least three sizes."""
    seeds = sorted({seed for _, _, seed in panel.cells})
    curves = {seed: [size for size in panel.sizes(*signs) if seed in panel.seeds(size, *signs)] for seed in seeds}
    curves = {seed: sizes for seed, sizes in curves.items() if len(sizes) >= 3}
    if not curves:
        return fit._replace(reason="no seed has the 3 sizes that are needed")
    replicates_BN, kappa_B = panel.replicates(REPLICATES), shapes(REPLICATES)
    value_S, low_SB, high_SB = [], [], []
    for seed, sizes in curves.items():
        x_K = np.log(np.array(sizes, float))
        weights_KN = np.array([panel.weights(signs, n)[panel.seeds(n, *signs).index(seed)] for n in sizes])
        value_S.append(half_way(x_K, (weights_KN @ panel.bounds_3N[0])[None], ends_at_zero).value_M[0])
        places = half_way(x_K, replicates_BN @ weights_KN.T, ends_at_zero, kappa_B)
        low_SB.append(places.low_M)
        high_SB.append(places.high_M)
    bounds_31 = over_seeds(np.array(value_S)[:, None], np.array(low_SB)[:, None], np.array(high_SB)[:, None])
    value, low, high = (float(bound) for bound in bounds_31[:, 0])
    everything = [size for sizes in curves.values() for size in sizes]
    smallest, largest = min(everything), max(everything)
    if not math.log(smallest) <= low <= high <= math.log(largest):
        where = ["below the smallest"] * (low < math.log(smallest)) + ["above the largest"] * (high > math.log(largest))
        return fit._replace(reason=f"not bracketed: N_half may lie {' or '.join(where) or 'below or above any'} size")
    return fit._replace(size=Interval(math.exp(value), math.exp(low), math.exp(high)))


def over_seeds(value_SM: FLOAT, low_SMB: FLOAT, high_SMB: FLOAT) -> FLOAT:
    """Return the mean over seeds of ln N_half of M curves, with its interval.

    Args:
        value_SM: half-way point of each seed.
        low_SMB: smallest half-way point of each replicate.
        high_SMB: largest half-way point of each replicate.

    Returns:
        Values and bounds (3, M); a value is NaN, or a bound infinite, for a curve without a half-way point.
    """
    with np.errstate(invalid="ignore"):  # places at no size
        value_M = value_SM.mean(0)
        low_M = np.minimum(_quantile(low_SMB.mean(0), BEYOND), value_M)
        high_M = np.maximum(_quantile(high_SMB.mean(0), 1 - BEYOND), value_M)
        half_SM = (_quantile(high_SMB, 1 - BEYOND) - _quantile(low_SMB, BEYOND)) / 2
        return seeds_bounds(value_SM, half_SM, np.stack([value_M, low_M, high_M]))


def _quantile(sample_B: FLOAT, level: float) -> FLOAT:
    """Return the element of the sample at a quantile; elements may be infinite, and NaN counts as infinity."""
    place = round(level * (sample_B.shape[-1] - 1))
    result: FLOAT = np.partition(np.where(np.isnan(sample_B), np.inf, sample_B), place, -1)[..., place]
    return result


def deviance(y_K: FLOAT, sigma_K: FLOAT) -> float:
    """Return the squared distance from the nearest falling curve, per degree of freedom (pool adjacent violators).

    Args:
        y_K: values of the curve.
        sigma_K: their standard errors.

    Returns:
        The deviance over the number of sizes that were pooled with another; 0 if the curve falls everywhere.

    Example:
        >>> deviance(np.array([1.0, 0.0, 0.2]), np.array([0.1, 0.1, 0.1]))
        2.0
    """
    weight_K = np.maximum(sigma_K, 1e-12) ** -2.0
    blocks: list[tuple[float, float, int]] = []  # mean, weight, sizes
    for y, weight in zip(y_K, weight_K, strict=True):
        mean, total, count = float(y), float(weight), 1
        while blocks and blocks[-1][0] < mean:
            other, more, sizes = blocks.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + sizes
        blocks.append((mean, total, count))
    fit_K = np.concatenate([np.full(count, mean) for mean, _, count in blocks])
    df = len(y_K) - len(blocks)
    return float((weight_K * (y_K - fit_K) ** 2).sum()) / df if df else 0.0


def memorized_up_to(sizes: list[int], train: list[Interval]) -> tuple[Interval | None, str | None]:
    """Return `n_mem` from train recovery at ascending sizes, and the reason why it, or an end of it, is not known."""

    def last(values: list[float]) -> int:
        below = [k for k, value in enumerate(values) if not value >= RECALLED]
        return (below[0] if below else len(values)) - 1

    value, low, high = (last([one[i] for one in train]) for i in range(3))
    if value < 0:
        return None, f"train recovery is {train[0].value:.3f} at the smallest size, {sizes[0]}, and not {RECALLED}"
    found = Interval(float(sizes[value]), float(sizes[low]) if low >= 0 else math.nan, float(sizes[max(high, value)]))
    smallest = f"{train[0].value:.3g} ({train[0].low:.3g} to {train[0].high:.3g})"
    doubt = f"it may lie below the smallest size, {sizes[0]}, where train recovery is {smallest}" if low < 0 else None
    return found, doubt


def generalizes_from(
    sizes: list[int], gaps: list[Interval], learned: list[bool | None], tolerance: float
) -> tuple[Interval | None, str | None]:
    """Return `n_gen` at ascending sizes, or the reason why it is null.

    Args:
        sizes: the sizes.
        gaps: gap between train and test rows at each size.
        learned: whether the interval of test recovery is above coincidence; None if that is not known.
        tolerance: largest gap that is equivalent to 0.
    """
    surely = [-tolerance < gap.low and gap.high < tolerance for gap in gaps]
    maybe = [gap.low < tolerance and gap.high > -tolerance for gap in gaps]
    if not surely[-1]:
        gap = gaps[-1]
        return None, (
            f"at the largest size, {sizes[-1]}, the gap {gap.value:.3g} ({gap.low:.3g} to {gap.high:.3g}) is not "
            f"equivalent to 0 within {tolerance:g}"
        )
    if learned[-1] is None:
        return None, "whether test recovery is above coincidence is not known"
    if not learned[-1]:
        return None, f"at the largest size, {sizes[-1]}, the interval of test recovery is not above coincidence"
    first = _first([sure and bool(above) for sure, above in zip(surely, learned, strict=True)])
    return Interval(float(sizes[first]), float(sizes[min(_first(maybe), first)]), float(sizes[first])), None


def _first(flags: list[bool]) -> int:
    """Return the first index from which on all flags are set."""
    unset = [k for k, flag in enumerate(flags) if not flag]
    return unset[-1] + 1 if unset else 0
