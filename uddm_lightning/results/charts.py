"""Charts of TensorBoard's page of custom scalars, in the order of the corruption times."""

import re
from collections.abc import Collection
from typing import Any

KINDS = {
    "recovery and gap": ("recovery/train", "recovery/test", "gap"),
    "entropy": ("entropy/train", "entropy/test"),
}


def charts_by_time(title: str, tags: Collection[str]) -> dict[str, dict[str, list[Any]]]:
    """Return a page with two charts for each t: both recoveries with their gap, and both entropies.

    Args:
        title: of the page.
        tags: of all scalars, with or without the prefixes `zz_` and `transition/`. Tags with a range of t are left out.

    Example:
        >>> charts_by_time("By t", ["gap/t=1", "zz_recovery/test/t=1", "loss/train"])
        {'By t': {'recovery and gap, t = 1': ['Multiline', ['^zz_recovery/test/t=1$', '^gap/t=1$']]}}
    """
    bare = {tag.removeprefix("zz_").removeprefix("transition/"): tag for tag in tags}
    times = {found[1] for name in bare if (found := re.search(r"/t=(\d[\d.]*(e-?\d+)?)$", name))}
    charts: dict[str, list[Any]] = {}
    for kind, names in KINDS.items():
        for t in sorted(times, key=float):
            mine = [bare[name] for name in (f"{one}/t={t}" for one in names) if name in bare]
            if mine:
                charts[f"{kind}, t = {t}"] = ["Multiline", [f"^{re.escape(tag)}$" for tag in mine]]
    return {title: charts}
