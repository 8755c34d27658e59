"""What a network's output means, which decides every number computed from it."""

from enum import Enum


class Parameterization(Enum):
    """What a network's output at position l says about x_0 there.

    LEAVE_ONE_OUT: p(x_0^l | x_t without position l), the prediction for which the reverse posterior is exact and the
        NELBO minimal.
    POSTERIOR: p(x_0^l | x_t), which looks at the token at l too; what plain cross-entropy learns.
    """

    LEAVE_ONE_OUT = "leave-one-out"
    POSTERIOR = "posterior"
