"""The section of the page in which a sentence is corrupted and restored, at every size and t."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from uddm_lightning.report.elements import box, numbers
from uddm_lightning.report.figures.drawing import Drawing
from uddm_lightning.report.formatting import escaped
from uddm_lightning.report.sentences import BROKEN, CHANGED, LOST, RECOVERED, Piece, Sentence, columns

STATES = {
    CHANGED: "corrupted",
    RECOVERED: "corrupted and restored",
    LOST: "corrupted and not restored",
    BROKEN: "clean, then changed",
}
_LINE = 40  # characters of a sentence in one line
_SIDES = {"train": "A training row", "test": "An unseen row"}
_LINES = ("original", "corrupted", "restored")


@dataclass(frozen=True)
class Replay:
    """Restored sentences of the page.

    Args:
        sentences: to show as text at three sizes, on paper and without JavaScript.
        data: of the interactive figure, see `restorations`.
        story: the striking case in sentences.
    """

    sentences: Sequence[Sentence] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    story: Sequence[str] = ()


def replay_section(drawing: Drawing, replay: Replay, files: str, terms: Mapping[str, str]) -> str:
    """Return the section: the interactive figure, and the sentences at three sizes without it.

    Args:
        drawing: the same sentences as a picture.
        replay: the content.
        files: links to the picture.
        terms: definitions of terms.
    """
    key = "".join(f'<span><i class="{state}">a</i> {words}</span>' for state, words in STATES.items())
    story = "".join(f"<p>{escaped(line)}</p>" for line in replay.story)
    live = _live(replay.data) if replay.data.get("models") else ""
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2>{story}'
        f'<div class="key">{key}</div>{live}<div class="still">{_still(replay.sentences)}</div>'
        f"{files}{numbers(drawing.table, terms)}</section>"
    )


def _live(data: Mapping[str, Any]) -> str:
    """Return the interactive figure, hidden until the script fills it, and its data."""
    names = [model["name"] for model in data["models"]]
    options = "".join(f'<option value="{place}">{escaped(name)}</option>' for place, name in enumerate(names))
    models = f'<label>model <select data-part="model">{options}</select></label>' if len(names) > 1 else ""
    sides = "".join(
        f'<div class="side" data-split="{split}"><h3>{title}</h3>'
        + "".join(f'<p class="label">{line}</p><p class="tokens" data-line="{line}"></p>' for line in _LINES)
        + '<p class="result"></p></div>'
        for split, title in _SIDES.items()
    )
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<div class="replay" hidden><div class="controls" role="group" aria-label="Size, corruption time and sentence">'
        '<label>trained on <output data-part="size-now"></output>'
        '<input type="range" min="0" step="1" data-part="size"></label>'
        '<label>corruption time t = <output data-part="time-now"></output>'
        '<input type="range" min="0" step="1" data-part="time"></label>'
        '<button type="button" data-part="play">Play over N</button>'
        f'<button type="button" data-part="next">Next sentence</button>{models}'
        '<label class="check"><input type="checkbox" checked data-part="shade"> shade by the entropy of the model '
        f'<span class="scale" aria-hidden="true"></span> 0 to {data["top"]:g} nats</label></div>'
        f'<div class="sides">{sides}</div><p class="unseen" role="status" aria-live="polite" data-part="now"></p></div>'
        f'<script type="application/json" id="restorations">{text}</script>'
    )


def _token(piece: Piece) -> str:
    """Return a token with the mark of its state, which is not below the space before it."""
    word = piece.text.lstrip()
    if piece.state not in STATES:
        return escaped(piece.text)
    space = piece.text.removesuffix(word)
    return f'{space}<i class="{piece.state}" title="{STATES[piece.state]}">{escaped(word)}</i>'


def _still(sentences: Sequence[Sentence]) -> str:
    blocks = []
    for sentence in sentences:
        tables = []
        for part in columns(sentence, _LINE):
            rows = []
            for line, pieces in zip(sentence.lines, part, strict=True):
                tokens = "".join(map(_token, pieces))
                rows.append(f"<tr><td>{escaped(line.label)}</td><td>{tokens}</td></tr>")
            tables.append(f"<table>{''.join(rows)}</table>")
        lines = "".join(f"<li>{escaped(line)}</li>" for line in sentence.summary)
        known = "a training row of all of these models" if sentence.split == "train" else "a held-out row"
        blocks.append(
            f"<h3>At t = {sentence.t:g}, {known}</h3>"
            f'{box("Sentence", "box sentence")}{"".join(tables)}</div><ul class="quiet">{lines}</ul>'
        )
    return "".join(blocks)
