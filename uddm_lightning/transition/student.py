"""Quantiles of Student's t, without a library."""

_TABLE = (  # 97.5 %, degrees of freedom 1 to 30
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
    *(2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272),
)
NORMAL = 1.959964  # the same with infinitely many


def student_t(df: int) -> float:
    """The 97.5 % quantile of Student's t, so that 5 % are left outside on both sides together.

    Beyond 30 degrees the Cornish-Fisher expansion around the normal quantile is used (Abramowitz and Stegun, 26.7.5).

    Args:
        df: degrees of freedom, at least 1.

    Returns:
        The quantile, to a relative accuracy of 1e-6.

    Raises:
        ValueError: if `df` is below 1.
    """
    if df < 1:
        raise ValueError(f"`df` must be at least 1, got {df}.")
    if df <= len(_TABLE):
        return _TABLE[df - 1]
    z = NORMAL
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2) + third / df**3
