"""The contract of a tokenizer: lines of text to ids and back.

All of them run on the `tokenizers` library; a subclass says how its backend is made.
"""

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from uddm_lightning.core.class_path import import_class
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.batching import batches
from uddm_lightning.data.component_spec import describe
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.notices import notice
from uddm_lightning.data.tokenizers.losses import Losses, counts

# The library keeps some 200 bytes for each token that it returns: encode about this many characters at a time.
BATCH_CHARACTERS = 2**18
MASK = "▢"
WRITTEN, DOUBTFUL, DROPPED = "written", "doubtful", "dropped"  # always, not always, never in the ids
NOTHING = r"(?!)"  # a pattern that matches nowhere


class Tokenizer(ABC):
    """Encodes lines of text.

    Special tokens are put by the packing alone: text that happens to spell one is encoded like any other text. Where
    the library's model has no other way to write it, it is unknown, or dropped if there is no unknown token.
    """

    def __init__(self) -> None:
        self._backend: tokenizers.Tokenizer | None = None
        self._rules: _Rules | None = None  # of the backend; worked out when they are first needed
        # names of the special tokens; None where the tokenizer has none
        self._bos: str | None = None
        self._eos: str | None = None
        self._separator: str | None = None
        self._pad: str | None = None

    @abstractmethod
    def fit(self, lines: Iterable[str]) -> None:
        """Learns the vocabulary; a given one ignores this.

        Args:
            lines: the sentences of the training documents; may be iterated more than once.

        Raises:
            InputError: the vocabulary would have fewer than 2 ids.
        """

    @classmethod
    def kept(cls, spec: dict[str, Any], file: Path) -> "Tokenizer":
        """An unfitted tokenizer from what `spec` gave, which needs no more than the `tokenizer.json` it was kept in."""
        tokenizer = import_class(spec["class_path"]).from_spec(spec, file)
        assert isinstance(tokenizer, Tokenizer)
        return tokenizer

    @classmethod
    def from_spec(cls, spec: dict[str, Any], file: Path) -> "Tokenizer":
        """The same for this class."""
        return cls(**spec["init_args"])

    @classmethod
    def downloads(cls, **arguments: Any) -> list[Download]:
        """What a tokenizer with these arguments of its constructor would fetch from the hub; nothing, as a rule.

        It is asked before one is made, and takes no network.
        """
        return []

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer of the library."""
        if self._backend is None:
            raise RuntimeError(f"{type(self).__name__} has no vocabulary yet: call `fit` or `from_json` first.")
        return self._backend

    def encode(self, lines: list[str]) -> list[list[int]]:
        """Ids of each line, none of which is that of a special token.

        Raises:
            InputError: the tokenizer cannot write the text.
        """
        return [self._ordinary(encoding.ids) for encoding in self._encodings(lines)]

    def count_lost(self, lines: list[str], ids: list[list[int]], losses: Losses) -> None:
        """Adds to `losses` what of the lines their ids do not hold.

        Args:
            lines: of text.
            ids: of these.
            losses: counts so far.
        """
        losses.read(lines)
        rules = self._current_rules()
        characters = set().union(*lines)
        for character in characters - rules.fate.keys():
            rules.fate[character] = self._fate_of(character)
        doubtful = {character for character in characters if rules.fate[character] != WRITTEN}
        never = {character for character in doubtful if rules.fate[character] == DROPPED}
        some = [
            (line, numbers)
            for line, numbers in zip(lines, ids, strict=True)
            if not doubtful.isdisjoint(line) or not rules.strange.isdisjoint(numbers) or rules.around.search(line)
        ]
        # the library's offsets are wrong in words with characters that it drops
        dropped_signs = f"[{re.escape(''.join(sorted(never)))}]" if never else NOTHING
        parts = re.compile(f"({rules.added})|({dropped_signs})")
        texts = [parts.sub(r"\1", line) for line, _ in some]
        for (line, numbers), text, encoding in zip(some, texts, self._encodings(texts, offsets=True), strict=True):
            if self._spelled(self._ordinary(encoding.ids)) != self._spelled(numbers):
                # some of these characters are part of a token: remove them from the other words only
                text = self._drop_by_word(line, parts)
                (encoding,) = self._encodings([text], offsets=True)
            if self._spelled(self._ordinary(encoding.ids)) != self._spelled(numbers):
                text, (encoding,) = line, self._encodings([line], offsets=True)
            losses.dropped.update(sign for sign in (Counter(line) - Counter(text)).elements() if counts(sign))
            dropped, unknown = _untold(text, encoding, rules)
            losses.dropped.update(dropped)
            losses.unknown.update(unknown)

    def _drop_by_word(self, line: str, parts: re.Pattern[str]) -> str:
        """Return the line without dropped characters, except in words that need them for a token."""
        words = re.split(r"(\s+)", line)
        shorter = [parts.sub(r"\1", word) for word in words]
        before, after = (
            [self._spelled(self._ordinary(one.ids)) for one in self._encodings(x)] for x in (words, shorter)
        )
        pairs = zip(words, shorter, before, after, strict=True)
        return "".join(short if old == new else word for word, short, old, new in pairs)

    def _spelled(self, ids: list[int]) -> str:
        return "".join(str(self.backend.id_to_token(number)) for number in ids)

    def _fate_of(self, character: str) -> str:
        """What becomes of a character at the beginning of a word, inside it and at its end."""
        text = 3 * character
        try:
            (encoding,) = self._encodings([text], offsets=True)
        except InputError:
            return DOUBTFUL
        if not encoding.ids and not character.isspace():
            return DROPPED
        return DOUBTFUL if any(_untold(text, encoding, self._current_rules())) else WRITTEN

    def _ordinary(self, ids: list[int]) -> list[int]:
        """The ids without those that text must not have."""
        rules = self._current_rules()
        if rules.forbidden.isdisjoint(ids):
            return ids
        found = (rules.unknown if number in rules.forbidden else number for number in ids)
        return [number for number in found if number is not None]

    def _encodings(self, lines: list[str], offsets: bool = False) -> Iterator[tokenizers.Encoding]:
        encode = self.backend.encode_batch if offsets else self.backend.encode_batch_fast
        for batch in batches(lines, BATCH_CHARACTERS):
            try:
                yield from encode(batch, add_special_tokens=False)
            except Exception as error:  # the library raises bare ones
                raise InputError(
                    f"`data.tokenizer`: {type(self).__name__} cannot write the text ({error}); it has no token for "
                    "what it does not know. Add one to it, or take a tokenizer that writes any text: BPETokenizer."
                ) from error

    def _current_rules(self) -> "_Rules":
        if self._rules is None:
            self._rules = _Rules.of(self.backend, {self.bos_id, self.eos_id, self.separator_id, self.pad_id})
        return self._rules

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; special tokens are written by name."""
        return self.backend.decode(list(ids), skip_special_tokens=False)

    def piece(self, token: int) -> str:
        """Text of a single id, to be shown beside others; a box for a mask, which is no id of the vocabulary."""
        return MASK if self.backend.id_to_token(token) is None else self.decode([token])

    @property
    def vocab_size(self) -> int:
        """Number of ids V: one more than the largest."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def blamed(self) -> str:
        """What reports call the part that loses characters."""
        return "`data.tokenizer`"

    @property
    def bos_id(self) -> int | None:
        """Id put at the beginning of a row."""
        return self._id(self._bos)

    @property
    def eos_id(self) -> int | None:
        """Id put at the end of a row."""
        return self._id(self._eos)

    @property
    def separator_id(self) -> int | None:
        """Id put between two sentences."""
        return self._id(self._separator)

    @property
    def pad_id(self) -> int | None:
        """Id that fills a row up."""
        return self._id(self._pad)

    @property
    def joiner(self) -> list[int]:
        """Ordinary ids put between two sentences where there is no separator."""
        return []

    def check_unchanged(self) -> None:  # noqa: B027 one whose vocabulary is no file's has nothing to check
        """Does nothing unless the vocabulary is that of a file.

        Raises:
            InputError: the file holds something else than when the tokenizer was made.
        """

    def to_json(self) -> str:
        """The fitted vocabulary, as a `tokenizer.json`."""
        return self.backend.to_str()

    def from_json(self, text: str) -> None:
        """Takes over what `to_json` gave."""
        self._adopt(tokenizers.Tokenizer.from_str(text))

    def spec(self) -> dict[str, Any]:
        """What determines the result, beside the text that is learned from; JSON-able."""
        return describe(self)

    def _id(self, name: str | None) -> int | None:
        return None if name is None else self.backend.token_to_id(name)

    def _adopt(self, backend: tokenizers.Tokenizer) -> None:
        # the library saves none of this, or files from elsewhere set it otherwise
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            notice(
                "`data.tokenizer` leaves out merges at random (`dropout`); this is switched off: a text has one code."
            )
            backend.model.dropout = None
        if (size := backend.get_vocab_size(with_added_tokens=True)) < 2:
            raise InputError(
                f"`data.tokenizer`: {type(self).__name__} has a vocabulary of {size} id(s), and one id tells nothing; "
                "give it more text or a larger alphabet."
            )
        self._backend, self._rules = backend, None


@dataclass
class _Rules:
    """What a backend does with text that it cannot write, and with the names of special tokens in a text.

    Attributes:
        forbidden: ids that no text has: those of special tokens.
        unknown: the id of unknown text; None where there is none, or only a forbidden one.
        strange: ids that stand for no text: forbidden and unknown ones.
        around: what to look for in lines whose characters may be dropped for their neighbours.
        added: pattern of text that is one token whatever its characters are.
        fate: what becomes of each character that was met so far.
    """

    forbidden: frozenset[int]
    unknown: int | None
    strange: frozenset[int]
    around: re.Pattern[str]
    added: str
    fate: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer, roles: set[int | None]) -> "_Rules":
        content = json.loads(backend.to_str())
        model = content["model"]
        name = model.get("unk_token")
        unknown = model["unk_id"] if "unk_id" in model else None if name is None else backend.token_to_id(name)
        special = {token["id"] for token in content["added_tokens"] if token["special"]} - {unknown}
        forbidden = frozenset(special | {number for number in roles if number is not None})
        ordinary = None if unknown in forbidden else unknown
        if any(map(_takes_out, (content["normalizer"], content["pre_tokenizer"]))):
            around = ""  # any line
        elif ordinary is None:  # names of special tokens leave nothing among the ids
            around = "|".join(re.escape(str(backend.id_to_token(number))) for number in sorted(forbidden)) or NOTHING
        else:
            around = NOTHING
        strange = forbidden if unknown is None else forbidden | {unknown}
        added = [re.escape(token["content"]) for token in content["added_tokens"] if not token["special"]]
        return cls(forbidden, ordinary, strange, re.compile(around), "|".join(added) or NOTHING)


def _takes_out(step: Any) -> bool:
    """Whether a step before the model takes out text by a pattern."""
    if isinstance(step, list):
        return any(map(_takes_out, step))
    if not isinstance(step, dict):
        return False
    by_itself = step.get("behavior") == "Removed" or (step.get("type") == "Replace" and not step["content"].strip())
    return by_itself or any(map(_takes_out, step.values()))


def _untold(text: str, encoding: tokenizers.Encoding, rules: _Rules) -> tuple[list[str], list[str]]:
    """Characters of a text that are dropped, and those that are unknown."""
    told: set[int] = set()
    strange: set[int] = set()  # a mark that is put before a word shares the place of the first character
    for (start, stop), number in zip(encoding.offsets, encoding.ids, strict=True):
        (strange if number in rules.strange else told).update(range(start, stop))
    seen = told | strange
    dropped = [sign for place, sign in enumerate(text) if place not in seen and counts(sign)]
    unknown = [text[place] for place in sorted(strange) if counts(text[place])]
    return (dropped + unknown, []) if rules.unknown is None else (dropped, unknown)
