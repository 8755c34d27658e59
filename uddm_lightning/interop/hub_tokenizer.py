"""Take the mask token out of a tokenizer: text never contains it, and here it is the last id of the network."""

import json
from typing import Any, NamedTuple

from uddm_lightning.core.errors import first_line
from uddm_lightning.interop.hub_folder import TOKENIZER, HubFolder

MASK_NAMES = ("[MASK]", "<mask>", "<|mask|>", "<|mdm_mask|>")  # usual names, where no file names the mask token


class TakenMask(NamedTuple):
    """A mask token that was taken out of a tokenizer.

    Attributes:
        mask_id: its id before; None if it is not known.
        is_named: whether the tokenizer has it.
        tokenizer: content of `tokenizer.json` without it; None without a tokenizer.
    """

    mask_id: int | None
    is_named: bool
    tokenizer: str | None


def take_out_mask(
    folder: HubFolder, tokenizer: str | None, about: dict[str, Any], usual: int | None = None
) -> TakenMask:
    """Find the mask token of a folder and take it out of the tokenizer.

    Args:
        folder: for messages.
        tokenizer: content of `tokenizer.json`; None without a tokenizer.
        about: content of `tokenizer_config.json`; may be empty.
        usual: id of the mask token where no tokenizer names it.

    Raises:
        InputError: the tokenizer is damaged.
    """
    if tokenizer is None:
        return TakenMask(usual, False, None)
    try:
        found = find_mask(tokenizer, about)
        mask_id = usual if found is None else found
        return TakenMask(
            mask_id, found is not None, tokenizer if mask_id is None else without_token(tokenizer, mask_id)
        )
    except (ValueError, RecursionError) as error:
        raise folder.refusal(f"its `{TOKENIZER}` is damaged ({first_line(error)})") from error


def find_mask(tokenizer: str, about: dict[str, Any]) -> int | None:
    """Return the id of the mask token of a tokenizer; None if it has none.

    Args:
        tokenizer: content of `tokenizer.json`.
        about: content of `tokenizer_config.json`; may be empty.

    Raises:
        ValueError: the tokenizer is damaged.
    """
    ids = _ids(json.loads(tokenizer))
    named = about.get("mask_token")
    named = named.get("content") if isinstance(named, dict) else named
    return ids.get(named) if isinstance(named, str) else next((ids[name] for name in MASK_NAMES if name in ids), None)


def without_token(tokenizer: str, token: int) -> str:
    """Return the content of `tokenizer.json` without a token; larger ids become smaller by one.

    Args:
        tokenizer: content of the file.
        token: id of the token to take out.

    Raises:
        ValueError: the tokenizer is damaged.
    """
    content = json.loads(tokenizer)
    ids = _ids(content)
    if token not in ids.values():
        return tokenizer
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        content["model"]["vocab"] = {name: _renumbered(one, token) for name, one in vocabulary.items() if one != token}
    else:
        content["model"]["vocab"] = [piece for one, piece in enumerate(vocabulary) if one != token]
    added = [one for one in content.get("added_tokens") or [] if one["id"] != token]
    content["added_tokens"] = [{**one, "id": _renumbered(one["id"], token)} for one in added]
    if any(one > token for one in ids.values()):
        content["post_processor"] = None  # it may hold ids; only the packing adds special tokens
    return json.dumps(content, ensure_ascii=False)


def _renumbered(one: int, token: int) -> int:
    return one - (one > token)


def _ids(content: Any) -> dict[str, int]:
    """Return the ids of all tokens by name."""
    try:
        vocabulary = content["model"]["vocab"]
        pairs = (
            vocabulary.items() if isinstance(vocabulary, dict) else ((one[0], i) for i, one in enumerate(vocabulary))
        )
        ids = dict(pairs) | {one["content"]: one["id"] for one in content.get("added_tokens") or []}
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("it has no vocabulary") from error
    if not all(isinstance(name, str) and type(one) is int for name, one in ids.items()):
        raise ValueError("an id in it is no integer")
    return ids
