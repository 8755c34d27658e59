"""Rules of a tokenizer backend for special tokens and for text that it cannot encode."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import tokenizers

from uddm_lightning.data.tokenizers.losses import is_countable

ENCODED, CONTEXT_DEPENDENT, DROPPED = "encoded", "context-dependent", "dropped"  # classes of characters
NO_MATCH = r"(?!)"  # pattern that matches nowhere


@dataclass
class BackendRules:
    """Rules of a tokenizer backend for special tokens and for text that it cannot encode.

    Attributes:
        special_ids: ids of the special tokens; no text has them.
        unknown_id: id of unknown text; None if the backend has none, or if it is a special id.
        textless_ids: special ids and the unknown id: they stand for no text.
        context_pattern: pattern of lines in which the neighbours of a character may cause it to be dropped.
        added_token_pattern: pattern of the added tokens, each of which is always one token.
        character_classes: `ENCODED`, `CONTEXT_DEPENDENT` or `DROPPED` for each character seen so far.
    """

    special_ids: frozenset[int]
    unknown_id: int | None
    textless_ids: frozenset[int]
    context_pattern: re.Pattern[str]
    added_token_pattern: str
    character_classes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_backend(cls, backend: tokenizers.Tokenizer, row_ids: set[int | None]) -> "BackendRules":
        """Return the rules of a backend.

        Args:
            backend: the tokenizer of the library.
            row_ids: ids of the begin, end, separator and padding tokens; None for a token that is not used.
        """
        content = json.loads(backend.to_str())
        model = content["model"]
        name = model.get("unk_token")
        unknown = model["unk_id"] if "unk_id" in model else None if name is None else backend.token_to_id(name)
        special = {token["id"] for token in content["added_tokens"] if token["special"]} - {unknown}
        special_ids = frozenset(special | {token for token in row_ids if token is not None})
        unknown_id = None if unknown in special_ids else unknown
        if any(map(_removes_text, (content["normalizer"], content["pre_tokenizer"]))):
            context = ""  # every line
        elif unknown_id is None:  # the name of a special token in a text gives no id
            context = "|".join(re.escape(str(backend.id_to_token(token))) for token in sorted(special_ids)) or NO_MATCH
        else:
            context = NO_MATCH
        textless_ids = special_ids if unknown is None else special_ids | {unknown}
        added = [re.escape(token["content"]) for token in content["added_tokens"] if not token["special"]]
        return cls(special_ids, unknown_id, textless_ids, re.compile(context), "|".join(added) or NO_MATCH)

    def replace_special(self, ids: list[int]) -> list[int]:
        """Return ids with the unknown id in place of special ids, or without special ids if there is no unknown id."""
        if self.special_ids.isdisjoint(ids):
            return ids
        replaced = (self.unknown_id if token in self.special_ids else token for token in ids)
        return [token for token in replaced if token is not None]

    def lost_characters(self, text: str, encoding: tokenizers.Encoding) -> tuple[list[str], list[str]]:
        """Return the dropped and the unknown characters of an encoded text."""
        encoded: set[int] = set()
        textless: set[int] = set()  # overlaps `encoded` where a word prefix shares the offsets of the first character
        for (start, stop), token in zip(encoding.offsets, encoding.ids, strict=True):
            (textless if token in self.textless_ids else encoded).update(range(start, stop))
        covered = encoded | textless
        dropped = [char for position, char in enumerate(text) if position not in covered and is_countable(char)]
        unknown = [text[position] for position in sorted(textless) if is_countable(text[position])]
        return (dropped + unknown, []) if self.unknown_id is None else (dropped, unknown)


def _removes_text(step: Any) -> bool:
    """Return whether a normalizer or pre-tokenizer removes text that matches a pattern."""
    if isinstance(step, list):
        return any(map(_removes_text, step))
    if not isinstance(step, dict):
        return False
    removes = step.get("behavior") == "Removed" or (step.get("type") == "Replace" and not step["content"].strip())
    return removes or any(map(_removes_text, step.values()))
