"""Parameterizations of a network's output."""

from enum import Enum


class Parameterization(Enum):
    """Distribution of x_0^l that a network's output at position l parameterizes.

    LEAVE_ONE_OUT: p(x_0^l | x_t without position l). With it the reverse posterior is exact and the NELBO minimal.
    POSTERIOR: p(x_0^l | x_t), which also conditions on x_t^l. Cross-entropy learns this one.
    REWEIGHTED: leave-one-out, with other odds of x_0^l = x_t^l. `ReweightedNELBO` learns this one. Only `HybridProcess`
        converts it.

    Example:
        >>> from uddm_lightning.core.parameterization import Parameterization
        >>> Parameterization("leave-one-out")
        <Parameterization.LEAVE_ONE_OUT: 'leave-one-out'>
    """

    LEAVE_ONE_OUT = "leave-one-out"
    POSTERIOR = "posterior"
    REWEIGHTED = "reweighted"

    @property
    def conditions_on_own_token(self) -> bool:
        """Whether the distribution conditions on x_t^l."""
        return self is not Parameterization.LEAVE_ONE_OUT
