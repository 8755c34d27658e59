"""Sequences under audit: rows of a text file, or rows of a run's corpus whose membership its manifest records.

Shapes: N sequences, L positions, B requested rows.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import Canaries, Corpus, Subset
from uddm_lightning.data.eval_dataset import RowReader
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.runs.load import LoadedModel
from uddm_lightning.runs.manifest import read_manifest

TRAIN, POOL, TEST = "train", "pool", "test"
OWN = {
    TRAIN: "rows that the run was trained on",
    POOL: "rows of the training pool behind the run's subset, which it was not trained on",
    TEST: "held-out rows",
}


@dataclass(frozen=True, eq=False)
class Sequences:
    """Rows of one origin.

    Attributes:
        name: of the file, or `train`, `pool` or `test`.
        origin: name of the text; the document numbers of sequences with the same origin are comparable.
        tokens_NL: int64 ids.
        counted_NL: bool, False at padding and special positions.
        valid_NL: bool, False at padding.
        documents_N: int64 document numbers.
        rows_N: int64 numbers of the rows in their text, or line numbers from 1 for a file.
    """

    name: str
    origin: str
    tokens_NL: Tensor
    counted_NL: Tensor
    valid_NL: Tensor
    documents_N: Tensor
    rows_N: Tensor

    def __len__(self) -> int:
        return self.tokens_NL.shape[0]

    def select(self, kept_N: Tensor) -> "Sequences":
        """Return the sequences at a bool mask, or at int64 indices."""
        return Sequences(self.name, self.origin, *(field[kept_N] for field in _fields(self)))


class Joined(NamedTuple):
    """Members and nonmembers, in this order.

    Attributes:
        sequences: of both groups, with document numbers that are comparable.
        member_N: True at members.
        duplicates: number of nonmembers that were left out because they equal a member.
    """

    sequences: Sequences
    member_N: NDArray[np.bool_]
    duplicates: int


def read_sequences(model: LoadedModel, given: str, limit: int, option: str) -> Sequences:
    """Return sequences of a file, or of a part of the run's corpus.

    Args:
        model: gives tokenizer, packing and manifest.
        given: path of a UTF-8 file with one text a line, or `train`, `pool` or `test`.
        limit: largest number of rows; those of a file are evenly spaced.
        option: name of the option, for messages.

    Raises:
        InputError: the text cannot be read, the prepared corpus of the run is not in the cache, or the part is empty.
    """
    if given in OWN:
        return _of_corpus(model, given, limit, option)
    tokenizer = model.tokenizer(fetch=True)
    if tokenizer is None:
        raise InputError(
            f"`{option} {given}`: the tokenizer of `{model.folder}` was learned from its text, which is not in the "
            "cache ($UDDM_CACHE), so that text cannot be converted to ids."
        )
    path = Path(given)
    rows = TextRows.from_file(str(path), tokenizer, model.packing)
    number = min(limit, len(rows))
    ids = torch.arange(number) * len(rows) // number
    lines = torch.tensor(rows.lines)[ids]
    return _sequences(path.name, str(path.resolve()), rows, ids, lines)


def canary_sequences(canaries: Canaries, ids: Tensor) -> Sequences:
    """Return canaries, or their alternatives, by number."""
    return _sequences("canaries", "canaries", canaries, ids, ids)


def planted_canaries(model: LoadedModel) -> Canaries | None:
    """Return the canaries that the run's manifest records; None if there are none.

    Raises:
        InputError: the canaries cannot be made again.
    """
    planted = read_manifest(model.folder).get("canaries")
    if not planted:
        return None
    tokenizer = model.tokenizer(fetch=True)
    if tokenizer is not None:
        canaries = Canaries(planted["repetitions"], model.packing, tokenizer, planted["seed"])
        if canaries.manifest() == planted:
            return canaries
    raise InputError(
        f"The canaries in `{model.folder / 'manifest.json'}` cannot be made again: the tokenizer of the run is not in "
        "the cache ($UDDM_CACHE), or it has changed. Leave canaries out with `--alternatives 0`."
    )


def join(members: Sequences, nonmembers: Sequences) -> Joined:
    """Return members and nonmembers together; nonmembers that equal a member are left out.

    Raises:
        InputError: every nonmember equals a member, or the sequences of the groups have different lengths.
    """
    known = set(_keys(members))
    new_N = torch.tensor([key not in known for key in _keys(nonmembers)], dtype=torch.bool)
    others = nonmembers.select(new_N)
    if not len(others):
        raise InputError(f"Every sequence of `{nonmembers.name}` also occurs in `{members.name}`; give other text.")
    documents_N = others.documents_N
    if others.origin != members.origin:
        documents_N = documents_N + int(members.documents_N.max()) + 1
    others = replace(others, documents_N=documents_N)
    fields = [torch.cat(pair) for pair in zip(_fields(members), _fields(others), strict=True)]
    member_N = np.arange(len(members) + len(others)) < len(members)
    joined = Sequences(f"{members.name} and {nonmembers.name}", members.origin, *fields)
    return Joined(joined, member_N, int((~new_N).sum()))


def _fields(sequences: Sequences) -> tuple[Tensor, ...]:
    """Return the fields that have an entry for each sequence."""
    tokens = sequences.tokens_NL, sequences.counted_NL, sequences.valid_NL
    return *tokens, sequences.documents_N, sequences.rows_N


def _keys(sequences: Sequences) -> list[bytes]:
    shown_NL = sequences.tokens_NL.where(sequences.valid_NL, -1)
    return [row.tobytes() for row in shown_NL.numpy()]


def _of_corpus(model: LoadedModel, part: str, limit: int, option: str) -> Sequences:
    corpus, manifest = model.corpus(), read_manifest(model.folder)
    if corpus is None:
        raise InputError(
            f"`{option} {part}` needs the prepared text of `{model.folder}`, which is not in the cache ($UDDM_CACHE). "
            "`uddm validate` prepares it again; or give files of text."
        )
    if part == TEST:
        numbers = torch.arange(min(limit, len(corpus.test)))
        ids = numbers * len(corpus.test) // len(numbers)
        return _sequences(part, "held-out text", corpus.test, ids, ids)
    subset = _whole_pool(corpus, manifest["seed"])
    first, end = (0, manifest["train_size"]) if part == TRAIN else (manifest["train_size"], len(subset))
    if first == end:
        raise InputError(
            f"`{option} pool`: `{model.folder}` was trained on the whole pool, so that no row is left. "
            f"Use `{option} test`."
        )
    ids = subset.rows(torch.arange(first, min(end, first + limit)))
    return _sequences(part, "training pool", corpus.train, ids, ids)


def _whole_pool(corpus: Corpus, seed: int) -> Subset:
    return Subset(len(corpus.train), 1.0, seed, corpus.hash)


def _sequences(name: str, origin: str, rows: RowReader, ids_N: Tensor, numbers_N: Tensor) -> Sequences:
    tokens_NL = rows.tokens(ids_N)
    valid_NL, special_NL, documents_N = rows.valid(ids_N), rows.special(ids_N), rows.documents(ids_N)
    valid_NL = torch.ones_like(tokens_NL, dtype=torch.bool) if valid_NL is None else valid_NL
    counted_NL = valid_NL if special_NL is None else valid_NL & ~special_NL
    documents_N = ids_N if documents_N is None else documents_N
    return Sequences(name, origin, tokens_NL, counted_NL, valid_NL, documents_N, numbers_N)
