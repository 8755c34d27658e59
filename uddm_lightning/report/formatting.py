"""Format numbers and untrusted text."""

import html
import re
import unicodedata

NAMED = {0x0A: "⏎", 0x0D: "␍", 0x09: "⇥", 0x7F: "␡"}

ORACLES = {  # name of the chain, and short name
    "MarkovBackbone": ("the exact posterior's chain", "exact posterior"),
    "EmpiricalBayesBackbone": ("the chain of the posterior over training rows", "posterior of train rows"),
    "UnigramBackbone": ("the chain of the unigram posterior", "unigram posterior"),
}


def oracle(backbone: str) -> str:
    """Return the name of an oracle's chain, as part of a sentence."""
    return ORACLES[backbone][0] if backbone in ORACLES else f"the chain of {visible(backbone)}"


def oracle_label(backbone: str) -> str:
    """Return a short name of an oracle."""
    return ORACLES[backbone][1] if backbone in ORACLES else visible(backbone)


def draws(chain: str) -> bool:
    """Return whether a sampler of this name samples tokens; others take the most probable one."""
    return "argmax" not in chain


def visible(text: str) -> str:
    """Return text with a visible sign for each control, format and unassigned character."""
    return "".join(_sign(character) for character in str(text))


def _sign(character: str) -> str:
    code = ord(character)
    if code in NAMED:
        return NAMED[code]
    if code < 0x20:
        return chr(0x2400 + code)
    is_hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
    return "\N{REPLACEMENT CHARACTER}" if is_hidden else character


def escaped(text: object) -> str:
    """`visible` text, safe inside HTML and inside its attributes."""
    return html.escape(visible(str(text)), quote=True)


def count(value: float) -> str:
    """Return a number of rows with thousands separators; numbers below 10 keep two digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def typeset(text: str) -> str:
    """Return a sentence of transition.json with minus signs and thousands separators."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<![\w.,-])\d{4,}(?![\w.])", lambda found: f"{int(found[0]):,}", text)


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a share or a number of nats, or a dash for None; numbers above 10 have fewer digits after the point."""
    if value is None:
        return "\N{EN DASH}"
    digits = max(digits - max(len(f"{abs(value):.0f}") - 1, 0), 0)
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace(
        "-", "\N{MINUS SIGN}"
    )  # + 0.0: there is no negative zero


def percent(value: float | None) -> str:
    """Return a share in per cent, or a dash for None."""
    return decimal(None) if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def time(t: float | None) -> str:
    """Return a corruption time as text; a dash for None."""
    return decimal(None) if t is None else f"{t:g}"


def answer(known: bool | None) -> str:
    """Return a truth value in words."""
    return "undetermined" if known is None else "yes" if known else "no"


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a value with its interval in brackets, if there is one; a dash without a value."""
    if value is None or low is None or high is None:
        return decimal(value, digits)
    return f"{decimal(value, digits)} ({decimal(low, digits)} to {decimal(high, digits)})"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
