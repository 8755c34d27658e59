"""Falling sigmoids over x = ln N, on a grid of crossings, forms and widths.

    s(x) = (1 + (2^(1/kappa) - 1) e^(u + c u^3))^(-kappa),    u = (x - x*) / w

is Richards' generalized logistic curve ("A flexible growth function for empirical use", Journal of Experimental Botany
10, 1959), written so that s(x*) = 1/2 for every kappa. kappa = 1 is the logistic curve; at 1/2 the curve falls late and
steeply, at 2 early with a long foot. The cubic term gives light tails: for kappa = 1 and c = 0.0173 the curve is the
normal distribution function to within 2e-4 (Page, "Approximations to the cumulative normal function and its inverse for
use on a pocket calculator", Applied Statistics 26, 1977). Form means the pair (kappa, c).

Shapes: X crossings, A forms, W widths, D = X A W designs in this order, K sizes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FLOAT = NDArray[np.float64]

_CROSSINGS = 240  # steps over the measured sizes and their surroundings
_WIDTHS = 16  # about a quarter apart; the profile interpolates between them
FORMS = ((0.5, 0.0), (0.7, 0.0), (1.0, 0.0), (1.4, 0.0), (2.0, 0.0), (1.0, 0.0173))  # kappa, c
_ZOOMED = (72, 16)  # crossings and widths of a part
_NARROWEST = 0.05  # in spacings of the sizes: a step that falls between two of them
_WIDEST = 0.2  # in ranges of the sizes: 5 to 95 % of the way takes 1.2 ranges


class Grid(NamedTuple):
    """The designs for a set of sizes.

    Attributes:
        x_K: natural logarithms of the sizes, ascending.
        crossing_X: where a curve is half way down, from one spacing below the sizes to one above, equidistant.
        form_A2: kappa and c of each form.
        width_W: scales w in units of x, geometric.
        shape_DK: s at each size, for each design.
    """

    x_K: FLOAT
    crossing_X: FLOAT
    form_A2: FLOAT
    width_W: FLOAT
    shape_DK: FLOAT

    def at(self, x: FLOAT | float) -> FLOAT:
        """S at other places: (D,) for a number, (D, N) for an array (N,)."""
        x = np.asarray(x, np.float64)
        shape_XAWN = sigmoid(
            x.reshape(-1),
            self.crossing_X[:, None, None, None],
            self.width_W[:, None],
            *self.form_A2.T[:, :, None, None],
        )
        return shape_XAWN.reshape(-1, *x.shape)


def grid(x_K: FLOAT) -> Grid:
    """The grid of designs for these sizes.

    Args:
        x_K: natural logarithms of at least two distinct sizes, ascending.

    Returns:
        The designs with their shapes.
    """
    span = float(x_K[-1] - x_K[0])
    spacing = span / (len(x_K) - 1)
    crossing_X = np.linspace(x_K[0] - spacing, x_K[-1] + spacing, _CROSSINGS)
    width_W = np.geomspace(_NARROWEST * float(np.diff(x_K).min()), _WIDEST * span, _WIDTHS)
    return _fill(x_K, crossing_X, width_W)


def zoom(whole: Grid, low: float, high: float, narrow: float, wide: float, counts: tuple[int, int] = _ZOOMED) -> Grid:
    """A finer grid over a part of another.

    Args:
        whole: the other grid.
        low: smallest crossing.
        high: largest crossing.
        narrow: smallest width.
        wide: largest width.
        counts: how many crossings and widths.

    Returns:
        The designs with their shapes.
    """
    return _fill(whole.x_K, np.linspace(low, high, counts[0]), np.geomspace(narrow, wide, counts[1]))


def _fill(x_K: FLOAT, crossing_X: FLOAT, width_W: FLOAT) -> Grid:
    empty = Grid(x_K, crossing_X, np.array(FORMS), width_W, np.empty((0, len(x_K))))
    return empty._replace(shape_DK=empty.at(x_K))


def sigmoid(x: FLOAT, crossing: FLOAT | float, width: FLOAT | float, kappa: FLOAT | float, c: FLOAT | float) -> FLOAT:
    """The curve s at x; all arguments are broadcast.

    Args:
        x: natural logarithm of the size.
        crossing: x*, where s = 1/2.
        width: w, above 0, in units of x.
        kappa: asymmetry, above 0.
        c: weight of the cubic term, at least 0.

    Returns:
        Values in [0, 1].
    """
    u = np.clip((x - crossing) / width, -500.0, 500.0)  # beyond, s is 0 or 1 to double precision
    offset = np.log(2.0 ** (1.0 / np.asarray(kappa)) - 1.0)
    value: FLOAT = np.exp(-kappa * np.logaddexp(0.0, u * (1.0 + c * u**2) + offset))
    return value


def fallen(share: float, crossing: float, width: float, kappa: float, c: float) -> float:
    """Where the curve has fallen by `share`: the x at which s(x) = 1 - share.

    Args:
        share: in (0, 1).
        crossing: x*.
        width: w.
        kappa: asymmetry.
        c: weight of the cubic term.

    Returns:
        Natural logarithm of a size.
    """
    target = np.log(np.expm1(-np.log1p(-share) / kappa) / np.expm1(np.log(2.0) / kappa))
    u = target / (1.0 + c * target**2)
    for _ in range(20):  # Newton's method for u + c u^3 = target, which rises steadily
        u -= (u * (1.0 + c * u**2) - target) / (1.0 + 3.0 * c * u**2)
    return float(crossing + width * u)
