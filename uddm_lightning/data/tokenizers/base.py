"""Base class of tokenizers, on the `tokenizers` library."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.batching import batch_by_length
from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.notices import notice
from uddm_lightning.data.tokenizers.backend_rules import CONTEXT_DEPENDENT, DROPPED, ENCODED, NO_MATCH, BackendRules
from uddm_lightning.data.tokenizers.losses import TokenizationLosses, is_countable

BATCH_CHARACTERS = 2**18  # characters per call of the library, whose output takes about 200 bytes per token
MASK = "▢"


class Tokenizer(ABC):
    """Maps lines of text to ids and back. A subclass creates the backend and passes it to `_set_backend`.

    Only the packing adds special tokens. Text that spells the name of a special token is encoded as ordinary text. If
    the backend cannot do that, the text becomes unknown, or is dropped if there is no unknown token.

    Example:
        >>> from tokenizers import Tokenizer as Backend, models, pre_tokenizers
        >>> class WordTokenizer(Tokenizer):
        ...     def fit(self, lines):
        ...         words = sorted({word for line in lines for word in line.split()})
        ...         backend = Backend(models.WordLevel({word: index for index, word in enumerate(words)}, "the"))
        ...         backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        ...         self._set_backend(backend)
        >>> tokenizer = WordTokenizer()
        >>> tokenizer.fit(["the cat", "the dog"])
        >>> tokenizer.encode(["the dog", "cat"])
        [[2, 1], [0]]
    """

    def __init__(self) -> None:
        self._backend: tokenizers.Tokenizer | None = None
        self._cached_rules: BackendRules | None = None
        # names of the special tokens by role: bos, eos, separator, pad; None or missing if there is none
        self._special: dict[str, str | None] = {}

    @abstractmethod
    def fit(self, lines: Iterable[str]) -> None:
        """Learn the vocabulary. A tokenizer with a given vocabulary does nothing.

        Args:
            lines: sentences of the training documents; can be iterated several times.

        Raises:
            InputError: the vocabulary would have fewer than 2 ids.
        """

    @classmethod
    def from_spec(cls, spec: dict[str, Any], file: Path) -> "Tokenizer":
        """Return an unfitted tokenizer.

        Args:
            spec: result of `spec`.
            file: `tokenizer.json` with the vocabulary, for a tokenizer that needs it before `from_json`.
        """
        return cls(**spec["init_args"])

    @classmethod
    def downloads(cls, **arguments: Any) -> list[Download]:
        """Return the downloads of a tokenizer with these constructor arguments, without network access."""
        return []

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """Tokenizer of the library.

        Raises:
            RuntimeError: the tokenizer has no vocabulary.
        """
        if self._backend is None:
            raise RuntimeError(f"{type(self).__name__} has no vocabulary: call `fit` or `from_json` first.")
        return self._backend

    def encode(self, lines: list[str]) -> list[list[int]]:
        """Return the ids of each line, without special tokens.

        Raises:
            InputError: the tokenizer cannot encode the text.
        """
        return [self._rules.replace_special(encoding.ids) for encoding in self._encodings(lines)]

    def count_losses(self, lines: list[str], ids: list[list[int]], losses: TokenizationLosses) -> None:
        """Add the characters of lines that have no id to `losses`.

        Args:
            lines: lines of text.
            ids: result of `encode` for the lines.
            losses: counts, updated in place.
        """
        losses.characters += sum(len("".join(line.split())) for line in lines)
        rules = self._rules
        characters = set().union(*lines)
        for character in characters - rules.character_classes.keys():
            rules.character_classes[character] = self._classify_character(character)
        suspects = {character for character in characters if rules.character_classes[character] != ENCODED}
        always_dropped = {character for character in suspects if rules.character_classes[character] == DROPPED}
        lossy = [
            (line, line_ids)
            for line, line_ids in zip(lines, ids, strict=True)
            if not (suspects.isdisjoint(line) and rules.textless_ids.isdisjoint(line_ids))
            or rules.context_pattern.search(line)
        ]
        # The library's offsets are wrong in words with dropped characters: encode the line without these characters.
        dropped_pattern = f"[{re.escape(''.join(sorted(always_dropped)))}]" if always_dropped else NO_MATCH
        parts = re.compile(f"({rules.added_token_pattern})|({dropped_pattern})")
        texts = [parts.sub(r"\1", line) for line, _ in lossy]
        encodings = self._encodings(texts, offsets=True)
        for (line, line_ids), text, encoding in zip(lossy, texts, encodings, strict=True):
            if self._token_string(rules.replace_special(encoding.ids)) != self._token_string(line_ids):
                # a token contains a removed character: keep these characters in its word
                text = self._drop_by_word(line, parts)
                (encoding,) = self._encodings([text], offsets=True)
            if self._token_string(rules.replace_special(encoding.ids)) != self._token_string(line_ids):
                text, (encoding,) = line, self._encodings([line], offsets=True)
            removed = (Counter(line) - Counter(text)).elements()
            losses.dropped.update(character for character in removed if is_countable(character))
            dropped, unknown = rules.lost_characters(text, encoding)
            losses.dropped.update(dropped)
            losses.unknown.update(unknown)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, with special tokens by name."""
        return self.backend.decode(list(ids), skip_special_tokens=False)

    def decode_token(self, token: int) -> str:
        """Return the text of a single id; a box for the mask token, which is not in the vocabulary."""
        return MASK if self.backend.id_to_token(token) is None else self.decode([token])

    @property
    def vocab_size(self) -> int:
        """Number of ids V: the largest id plus one."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def lossy_key(self) -> str:
        """Component that messages name when characters have no id."""
        return "`data.tokenizer`"

    @property
    def bos_id(self) -> int | None:
        """Id at the beginning of a row; None if there is none."""
        return self._special_id("bos")

    @property
    def eos_id(self) -> int | None:
        """Id at the end of a row; None if there is none."""
        return self._special_id("eos")

    @property
    def separator_id(self) -> int | None:
        """Id of the special token between two sentences; None if there is none."""
        return self._special_id("separator")

    @property
    def pad_id(self) -> int | None:
        """Id of padding; None if there is none."""
        return self._special_id("pad")

    @property
    def joiner_ids(self) -> list[int]:
        """Ids between two sentences: the separator, if there is one."""
        return [] if self.separator_id is None else [self.separator_id]

    def check_unchanged(self) -> None:  # noqa: B027 a tokenizer without a vocabulary file has nothing to check
        """Check that the vocabulary file, if there is one, did not change.

        Raises:
            InputError: the contents of the file differ from those at construction.
        """

    def to_json(self) -> str:
        """Return the fitted vocabulary as the text of a `tokenizer.json`."""
        return self.backend.to_str()

    def from_json(self, text: str) -> None:
        """Load the vocabulary from the result of `to_json`."""
        self._set_backend(tokenizers.Tokenizer.from_str(text))

    def spec(self) -> dict[str, Any]:
        """Return plain data that, with the training text, determine the ids."""
        return component_spec(self)

    @property
    def _rules(self) -> BackendRules:
        if self._cached_rules is None:
            row_ids = {self.bos_id, self.eos_id, self.separator_id, self.pad_id}
            self._cached_rules = BackendRules.from_backend(self.backend, row_ids)
        return self._cached_rules

    def _classify_character(self, character: str) -> str:
        """Return the class of a character from its encoding at the beginning, inside and at the end of a word."""
        text = 3 * character
        try:
            (encoding,) = self._encodings([text], offsets=True)
        except InputError:
            return CONTEXT_DEPENDENT
        if not encoding.ids and not character.isspace():
            return DROPPED
        return CONTEXT_DEPENDENT if any(self._rules.lost_characters(text, encoding)) else ENCODED

    def _drop_by_word(self, line: str, parts: re.Pattern[str]) -> str:
        """Return the line without dropped characters, except in words that have a token with such characters."""
        words = re.split(r"(\s+)", line)
        shortened = [parts.sub(r"\1", word) for word in words]
        before, after = ([self._token_string(ids) for ids in self.encode(texts)] for texts in (words, shortened))
        pairs = zip(words, shortened, before, after, strict=True)
        return "".join(short if old == new else word for word, short, old, new in pairs)

    def _encodings(self, lines: list[str], offsets: bool = False) -> Iterator[tokenizers.Encoding]:
        encode = self.backend.encode_batch if offsets else self.backend.encode_batch_fast
        for batch in batch_by_length(lines, BATCH_CHARACTERS):
            try:
                yield from encode(batch, add_special_tokens=False)
            except Exception as error:  # the library raises plain exceptions
                raise InputError(
                    f"`data.tokenizer`: {type(self).__name__} cannot encode the text ({error}); it has no unknown "
                    "token. Add one to it, or use a tokenizer that encodes any text: BPETokenizer."
                ) from error

    def _token_string(self, ids: list[int]) -> str:
        return "".join(str(self.backend.id_to_token(token)) for token in ids)

    def _special_id(self, role: str) -> int | None:
        name = self._special.get(role)
        return None if name is None else self.backend.token_to_id(name)

    def _set_backend(self, backend: tokenizers.Tokenizer) -> None:
        # the library does not save these settings, and third-party files may differ
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            notice(
                "`data.tokenizer` drops merges at random (`dropout`); dropout is disabled, for one encoding per text."
            )
            backend.model.dropout = None
        if (size := backend.get_vocab_size(with_added_tokens=True)) < 2:
            raise InputError(
                f"`data.tokenizer`: {type(self).__name__} has a vocabulary of {size} id(s), but needs at least 2; use "
                "more text or a larger alphabet."
            )
        self._backend, self._cached_rules = backend, None
