"""Choose a sentence that was corrupted and restored at three sizes, and classify its tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from uddm_lightning.core.token_texts import readable
from uddm_lightning.report.formatting import visible

CLEAN, RECOVERED, LOST, BROKEN, CHANGED = "clean", "recovered", "lost", "broken", "changed"
NOISE = 0.25  # the t whose sentences are shown, or the nearest below

Restored = dict[str, Any]  # one row of sequences.parquet
_TEXTS = ("x0_text", "xt_text", "xhat_text")


@dataclass(frozen=True)
class Piece:
    """A token in a line.

    Args:
        text: text to show, never empty.
        state: clean, changed (in the corrupted line), recovered, lost or broken.
    """

    text: str
    state: str


@dataclass(frozen=True)
class Line:
    """A version of the sentence.

    Args:
        label: name of the version.
        pieces: its tokens.
    """

    label: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Sentence:
    """A row in all its versions.

    Args:
        split: train or test.
        row_id: its number in the corpus.
        t: corruption time.
        lines: original, corrupted, and restored at each size.
        summary: result at each size, in words.
    """

    split: str
    row_id: int
    t: float
    lines: tuple[Line, ...]
    summary: tuple[str, ...]


def with_readable_texts(sequences: Iterable[Restored]) -> list[Restored]:
    """Return the sequences with texts that read well side by side; where the text of tokens is not known, with ids."""
    texts = [[s.get(name) or list(map(str, s[name.removesuffix("_text")])) for name in _TEXTS] for s in sequences]
    shown = readable({text for three in texts for pieces in three for text in pieces})
    return [
        {**s, **{name: [shown[text] for text in pieces] for name, pieces in zip(_TEXTS, three, strict=True)}}
        for s, three in zip(sequences, texts, strict=True)
    ]


def noise_level(sequences: Sequence[Restored]) -> float | None:
    """Return the largest t that is at most 0.25, or the smallest t."""
    times = sorted({sequence["t"] for sequence in sequences})
    below = [t for t in times if t <= NOISE]
    return (below[-1] if below else times[0]) if times else None


def choose(sequences: Sequence[Restored], sizes: Sequence[int], split: str, t: float) -> Sentence | None:
    """Choose the row with most corrupted tokens among those kept at all sizes, if possible with the same corruption.

    Args:
        sequences: those of one backbone and seed.
        sizes: the sizes to compare.
        split: train or test.
        t: corruption time.
    """
    mine = [s for s in sequences if s["split"] == split and s["t"] == t]
    kept = {size: [s for s in mine if s["train_size"] == size] for size in sizes}
    rows = set.intersection(*({s["row_id"] for s in kept[size]} for size in sizes)) if sizes else set()
    best: tuple[tuple[bool, int, int], list[Restored]] | None = None
    for row_id in sorted(rows):
        draws = {size: [s for s in kept[size] if s["row_id"] == row_id] for size in sizes}
        noised = [{tuple(s["xt"]) for s in draws[size]} for size in sizes]
        shared = sorted(set.intersection(*noised), key=lambda xt: (-_corrupted(draws[sizes[0]][0]["x0"], xt), xt))
        if shared:
            picked = [next(s for s in draws[size] if tuple(s["xt"]) == shared[0]) for size in sizes]
        else:
            picked = [draws[size][0] for size in sizes]
        score = (bool(shared), min(_corrupted(s["x0"], s["xt"]) for s in picked), -row_id)
        if best is None or score > best[0]:
            best = score, picked
    return None if best is None else _sentence(best[1], split, t, same=best[0][0])


def _sentence(picked: list[Restored], split: str, t: float, same: bool) -> Sentence:
    lines = [Line("original", _pieces(picked[0], "x0"))]
    summary = []
    for index, sequence in enumerate(picked):
        if index == 0 or not same:
            label = "corrupted" if same else f"corrupted, N = {sequence['train_size']:,}"
            lines.append(Line(label, _pieces(sequence, "xt")))
        line = Line(f"N = {sequence['train_size']:,}", _pieces(sequence, "xhat"))
        lines.append(line)
        states = [piece.state for piece in line.pieces]
        right, wrong, broken = (states.count(state) for state in (RECOVERED, LOST, BROKEN))
        summary.append(
            f"Trained on {sequence['train_size']:,} rows: {right} of {right + wrong} corrupted tokens restored, "
            f"{broken} clean {'token' if broken == 1 else 'tokens'} changed."
        )
    return Sentence(split, picked[0]["row_id"], t, tuple(lines), tuple(summary))


def _pieces(sequence: Restored, name: str) -> tuple[Piece, ...]:
    pieces = []
    for x0, xt, xhat, text in zip(*(sequence[key] for key in ("x0", "xt", "xhat", f"{name}_text")), strict=True):
        state = CLEAN
        if name == "xt" and xt != x0:
            state = CHANGED
        elif name == "xhat" and xt != x0:
            state = RECOVERED if xhat == x0 else LOST
        elif name == "xhat" and xhat != x0:
            state = BROKEN
        shown = visible(text) or "∅"
        pieces.append(Piece("␣" * len(shown) if state != CLEAN and shown.isspace() else shown, state))
    return tuple(pieces)


def columns(sentence: Sentence, width: int) -> list[list[list[Piece]]]:
    """Split a sentence into pages of at most `width` characters, with the tokens of all lines aligned.

    Args:
        sentence: the sentence to cut.
        width: in characters; a longer token has a page of its own.

    Returns:
        For each page its lines, for each line its pieces, each followed by what is missing to the width of its column.
    """
    pages: list[list[list[Piece]]] = []
    used = width
    for column in zip(*(line.pieces for line in sentence.lines), strict=True):
        wide = max(len(piece.text) for piece in column)
        if used + wide > width:
            pages.append([[] for _ in sentence.lines])
            used = 0
        used += wide
        for line, piece in zip(pages[-1], column, strict=True):
            line.append(piece)
            if len(piece.text) < wide:
                line.append(Piece(" " * (wide - len(piece.text)), CLEAN))
    return pages


def _corrupted(x0: Sequence[int], xt: Sequence[int]) -> int:
    return sum(a != b for a, b in zip(x0, xt, strict=True))
