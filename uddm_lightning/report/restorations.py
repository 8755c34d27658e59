"""Restored sequences as data of the interactive figure: the same rows with the same noise at every size and t."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.report.formatting import count, percent, visible
from uddm_lightning.report.sentences import Restored, noise_level
from uddm_lightning.results.reference import reference
from uddm_lightning.results.study import nearest

Token = tuple[int, str]  # id and text
Stored = dict[int, NDArray[np.int64]]  # training rows by their length: (rows, length)
SPLITS = ("train", "test")
_ROWS = 4  # rows of each split at most
_TOKENS = 40_000  # restored tokens in the page at most, over all models
_NEAR, _GAIN = (
    0.8,
    0.3,
)  # an unseen row is pulled in: equal to a training row in this share, and how much more than before


@dataclass(frozen=True)
class Pull:
    """A test row that the chain turned into a training row.

    Args:
        size: training rows of the model.
        t: corruption time.
        row_id: number of the test row in the corpus.
        before: share of the corrupted row's tokens that equal the training row's.
        after: the same share of the restored row.
    """

    size: int
    t: float
    row_id: int
    before: float
    after: float


def restorations(models: Mapping[str, Sequence[Restored]]) -> dict[str, Any]:
    """Return the data of the interactive figure, ready for JSON.

    Rows of a split are those with corrupted tokens at most sizes and times, with the same noise, at most four. The
    first one has corrupted tokens at the start.

    Args:
        models: for each model, the sequences of one seed, see `with_readable_texts`.

    Returns:
        `texts`, the distinct tokens; `top`, the entropy in nats of the darkest shade; and `models`. A model has
        `sizes`, `times`, `start` (places of size and t, place of the row) and `rows`, for each split a list. In a row,
        `x0` holds places in `texts`; `noised` holds for each t the pairs (position, text) that differ from `x0`;
        `restored` holds for each "t,size" the pairs that differ from the noised row, the entropies as digits from 0 to
        9 or as spaces where the model predicts nothing, and the share in per cent that equals the nearest training row.
    """
    texts: dict[Token, int] = {}
    entropies = [e for mine in models.values() for s in mine for e in s.get("entropy") or () if not math.isnan(e)]
    top = max(entropies, default=0.0) or 1.0
    known = {name: mine for name, mine in models.items() if mine}
    found = [_model(name, mine, texts, top, _TOKENS // max(len(known), 1)) for name, mine in known.items()]
    return {"texts": [text for _, text in texts], "top": round(float(top), 2), "models": found}


def pull(sequences: Sequence[Restored]) -> Pull | None:
    """Return the test row that is pulled furthest into a training row, or None if none is."""
    found: list[tuple[float, Pull]] = []
    stored = _stored(sequences)
    for s in sequences:
        near = _nearest(s["xhat"], stored.get(s["train_size"], {})) if s["split"] == "test" else None
        if near is None:
            continue
        before, after = _equal(s["xt"], near), _equal(s["xhat"], near)
        if after >= _NEAR and after - before >= _GAIN:
            found.append((after - before, Pull(s["train_size"], s["t"], s["row_id"], before, after)))
    at = reference(sorted({s["t"] for s in sequences})) if found else 0.0

    def rank(one: tuple[float, Pull]) -> tuple[float, int, float]:
        return round(one[0], 2), -one[1].size, -abs(one[1].t - at)

    return max(found, key=rank, default=(0.0, None))[1]


def story(sequences: Sequence[Restored]) -> list[str]:
    """Return the striking case, and the restored tokens at the smallest and at the largest size, in sentences."""
    lines = []
    if strike := pull(sequences):
        lines.append(
            f"Trained on {count(strike.size)} rows, the model pulls an unseen sentence into a stored one: at "
            f"t = {strike.t:g}, {percent(strike.before)} of its tokens equal those of a training row before the chain, "
            f"and {percent(strike.after)} after it."
        )
    sizes, t = sorted({s["train_size"] for s in sequences}), noise_level(sequences)
    for size in dict.fromkeys([*sizes[:1], *sizes[-1:]]):
        shares = []
        for split in SPLITS:
            mine = [s for s in sequences if (s["split"], s["train_size"], s["t"]) == (split, size, t)]
            pairs = [(a, c) for s in mine for a, b, c in zip(s["x0"], s["xt"], s["xhat"], strict=True) if a != b]
            right = sum(a == c for a, c in pairs)
            shares += [f"{count(right)} of {count(len(pairs))} corrupted tokens of {split} rows"] if pairs else []
        if shares:
            lines.append(f"At t = {t:g}, trained on {count(size)} rows, the model restores {' and '.join(shares)}.")
    return lines


def _model(
    name: str, sequences: Sequence[Restored], texts: dict[Token, int], top: float, budget: int
) -> dict[str, Any]:
    sizes, times = (sorted({s[key] for s in sequences}) for key in ("train_size", "t"))
    stored, strike = _stored(sequences), pull(sequences)
    longest = max(len(s["x0"]) for s in sequences)
    n_rows = max(1, min(_ROWS, budget // (len(SPLITS) * len(sizes) * len(times) * max(longest, 1))))
    t = strike.t if strike else noise_level(sequences)
    size = strike.size if strike else nearest(sizes, (sizes[0] * sizes[-1]) ** 0.5)
    rows: dict[str, list[dict[str, Any]]] = {}
    for split in SPLITS:
        cells = _cells([s for s in sequences if s["split"] == split])
        first = strike.row_id if strike and split == "test" else None
        noised = {i: {place for place, s in cells[i].items() if s["xt"] != s["x0"]} for i in cells}

        def rank(
            i: int, first: int | None = first, noised: Mapping[int, set[tuple[float, int]]] = noised
        ) -> tuple[bool, bool, int, int]:
            return i != first, (t, size) not in noised[i], -len(noised[i]), i

        rows[split] = [_row(cells[i], sizes, times, texts, top, stored) for i in sorted(cells, key=rank)[:n_rows]]
    start = [sizes.index(size), times.index(t), 0]
    return {"name": visible(name), "sizes": sizes, "times": times, "start": start, "rows": rows}


def _cells(sequences: Sequence[Restored]) -> dict[int, dict[tuple[float, int], Restored]]:
    """Return for each row the sequence at each t and size; of several draws, the noise that most sizes share."""
    noises: dict[tuple[int, float], Counter[tuple[int, ...]]] = {}
    for s in sequences:
        noises.setdefault((s["row_id"], s["t"]), Counter())[tuple(s["xt"])] += 1
    chosen = {place: min(counts, key=lambda xt: (-counts[xt], xt)) for place, counts in noises.items()}
    found: dict[int, dict[tuple[float, int], Restored]] = {}
    for s in sequences:
        if tuple(s["xt"]) == chosen[s["row_id"], s["t"]]:
            found.setdefault(s["row_id"], {}).setdefault((s["t"], s["train_size"]), s)
    return found


def _row(
    cells: Mapping[tuple[float, int], Restored],
    sizes: Sequence[int],
    times: Sequence[float],
    texts: dict[Token, int],
    top: float,
    stored: Mapping[int, Stored],
) -> dict[str, Any]:
    x0: list[int] = []
    noised: dict[str, list[int]] = {}
    restored: dict[str, list[Any]] = {}
    for (t, size), s in sorted(cells.items()):
        x0, xt, xhat = (
            [texts.setdefault(one, len(texts)) for one in _tokens(s, name)] for name in ("x0", "xt", "xhat")
        )
        place = times.index(t)
        noised[str(place)] = _changes(x0, xt)
        shades = "".join(_shade(value / top) for value in s.get("entropy") or ())
        near = _nearest(s["xhat"], stored.get(size, {})) if s["split"] == "test" else None
        share = 0 if near is None else round(100 * _equal(s["xhat"], near))
        restored[f"{place},{sizes.index(size)}"] = [_changes(xt, xhat), shades, share]
    return {"x0": x0, "noised": noised, "restored": restored}


def _shade(share: float) -> str:
    """Return a digit; a space for NaN, the entropy of a masked model where no token is hidden."""
    return " " if math.isnan(share) else str(round(9 * min(max(share, 0.0), 1.0)))


def _tokens(sequence: Restored, name: str) -> list[Token]:
    pairs = zip(sequence[name], sequence[f"{name}_text"], strict=True)
    return [(token, visible(text) or "∅") for token, text in pairs]


def _changes(before: Sequence[int], after: Sequence[int]) -> list[int]:
    pairs = [(place, b) for place, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    return [number for pair in pairs for number in pair]


def _stored(sequences: Sequence[Restored]) -> dict[int, Stored]:
    """Return the distinct training rows among the sequences, by size and length."""
    found: dict[int, dict[int, dict[tuple[int, ...], None]]] = {}
    for s in sequences:
        if s["split"] == "train":
            found.setdefault(s["train_size"], {}).setdefault(len(s["x0"]), {})[tuple(s["x0"])] = None
    return {size: {n: np.array([*rows]) for n, rows in by_length.items()} for size, by_length in found.items()}


def _nearest(row: Sequence[int], stored: Stored) -> NDArray[np.int64] | None:
    """Return the training row of the same length that equals a row at most positions, the first one of several."""
    rows = stored.get(len(row))
    return None if rows is None else rows[(rows == np.array(row)).sum(1).argmax()]


def _equal(row: Sequence[int], other: NDArray[np.int64]) -> float:
    return float((np.array(row) == other).sum()) / max(len(row), 1)
