"""Capacity of a perceptron at a margin, the limit of every linear memory of random spins.

Source: Gardner 1988, "The space of interactions in neural network models".
"""

import math

from uddm_lightning.core.errors import check_within

LARGEST_MARGIN = 1e3  # upper end of the bisection


def gardner_capacity(kappa: float) -> float:
    """Return gamma_c, the largest number of random patterns per spin that a linear memory stores with a margin.

    Spin l is stored with margin kappa if x_l h_l >= kappa |J_l|, with |J_l| the norm of the couplings of the spin. In
    the limit of many spins, all patterns can be stored below the load

        1 / gamma_c(kappa) = integral of (z + kappa)^2 phi(z) dz from -kappa to infinity
                           = (1 + kappa^2) Phi(kappa) + kappa phi(kappa),

    with phi and Phi the density and the distribution function of the standard normal distribution.

    Args:
        kappa: margin, at least 0.

    Raises:
        InputError: `kappa` is negative.

    Example:
        >>> gardner_capacity(0.0)
        2.0
    """
    check_within("[0, inf)", kappa=kappa)
    density = math.exp(-(kappa**2) / 2) / math.sqrt(2 * math.pi)
    return 1 / ((1 + kappa**2) * (1 + math.erf(kappa / math.sqrt(2))) / 2 + kappa * density)


def gardner_margin(gamma: float) -> float:
    """Return kappa_max, the largest margin with which a linear memory stores gamma random patterns per spin.

    It solves gamma_c(kappa) = gamma by bisection.

    Args:
        gamma: load, in (0, 2]; at larger loads no memory stores all patterns.

    Raises:
        InputError: `gamma` is out of range.

    Example:
        >>> round(gardner_margin(1.0), 4), round(gardner_margin(0.5), 4)
        (0.4707, 1.0343)
    """
    check_within("(0, 2]", gamma=gamma)
    low, high = 0.0, LARGEST_MARGIN
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if gardner_capacity(middle) >= gamma else (low, middle)
    return low
