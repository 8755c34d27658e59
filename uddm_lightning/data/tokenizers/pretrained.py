"""Pretrained tokenizers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from tokenizers import models
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.checksums import changed_while_read, content_hash, file_hash
from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.wordpiece import UNKNOWN, bert_backend

FILE = "tokenizer.json"  # of a model on the hub
_failures: dict[str, str] = {}  # messages by name of the tokenizers that the hub did not give to this process

COMMON_NAMES = {  # usual names of special tokens; the first name in the vocabulary is used
    "bos": ("[CLS]", "<s>", "<|endoftext|>"),
    "eos": ("[SEP]", "</s>", "<|endoftext|>"),
    "separator": ("[SEP]", "</s>", "<|endoftext|>"),
    "pad": ("[PAD]", "<pad>", "<|endoftext|>"),
}

MAX_UNUSED_IDS = 2**16  # vocabularies are padded to a multiple of some thousand at most


class PretrainedTokenizer(Tokenizer):
    """Tokenizer from a `tokenizer.json`, the `vocab.txt` of an uncased BERT, or a model on the Hugging Face hub.

    For each special token, None looks for a usual name in the vocabulary, and "" means that there is no such token.

    Args:
        path: file, or name of a model on the hub.
        bos: token at the beginning of a row.
        eos: token at the end of a row.
        separator: token between two sentences.
        pad: token for padding.
        vocab_size: number of ids, if a network has up to 65,536 more than the tokenizer; the text never contains the
            others. None takes the tokenizer's.

    Raises:
        InputError: the tokenizer cannot be loaded, `vocab_size` is out of its range, or a special token is not in its
            vocabulary.
    """

    def __init__(
        self,
        path: str,
        bos: str | None = None,
        eos: str | None = None,
        separator: str | None = None,
        pad: str | None = None,
        vocab_size: int | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self._file = Path(path).expanduser() if _is_file(path) else None
        self._hash = _hash_if_file(self._file)
        self._set_backend(_extended(_load(path), vocab_size, path))
        self.check_unchanged()
        roles = {"bos": bos, "eos": eos, "separator": separator, "pad": pad}
        self._special = {role: self._find_token(role, name) for role, name in roles.items()}
        self._mark_special_tokens()

    @classmethod
    @override
    def from_spec(cls, spec: dict[str, Any], file: Path) -> "PretrainedTokenizer":
        # the file has all of the tokenizer; "" disables the lookup of usual names
        roles: dict[str, Any] = {role: name or "" for role, name in spec["init_args"].items()}
        return cls(str(file), **roles)

    @classmethod
    @override
    def downloads(cls, **arguments: Any) -> list[Download]:
        path = arguments["path"]
        return [] if _is_file(path) else [Download("model", path, "main", ("tokenizer.json",))]

    @override
    def fit(self, lines: Iterable[str]) -> None:
        pass

    @override
    def check_unchanged(self) -> None:
        if _hash_if_file(self._file) != self._hash:
            raise changed_while_read(f"Tokenizer file `{self.path}`")

    @override
    def spec(self) -> dict[str, Any]:
        # the contents of the file determine the ids, not its path
        return {
            "class_path": component_spec(self)["class_path"],
            "init_args": self._special,
            "content": content_hash(self.to_json()),
        }

    def _mark_special_tokens(self) -> None:
        """Mark the tokens that the packing adds as special, so that text that spells their names gets other ids."""
        content, names = json.loads(self.to_json()), set(self._special.values())
        unmarked = [token for token in content["added_tokens"] if token["content"] in names and not token["special"]]
        for token in unmarked:
            token["special"] = True
        if unmarked:
            self.from_json(json.dumps(content, ensure_ascii=False))

    def _find_token(self, role: str, name: str | None) -> str | None:
        if name == "":
            return None
        if name is None:
            return next((known for known in COMMON_NAMES[role] if self.backend.token_to_id(known) is not None), None)
        if self.backend.token_to_id(name) is None:
            raise InputError(
                f'`{role}` is {name!r}, which is not a token of `{self.path}`; set it to a token, or to "" for none.'
            )
        return name


def _extended(backend: tokenizers.Tokenizer, vocab_size: int | None, path: str) -> tokenizers.Tokenizer:
    """Return the tokenizer with tokens without a meaning behind its own."""
    size = backend.get_vocab_size(with_added_tokens=True)
    if vocab_size is not None and size > vocab_size:
        raise InputError(f"`vocab_size` is {vocab_size}, and `{path}` has {size} ids; give at least that.")
    if vocab_size is not None and vocab_size > size + MAX_UNUSED_IDS:
        raise InputError(
            f"`vocab_size` is {vocab_size}, and `{path}` has {size} ids; give at most {size + MAX_UNUSED_IDS:,}."
        )
    backend.add_special_tokens([f"<unused {number}>" for number in range(size, vocab_size or 0)])
    return backend


def _hash_if_file(file: Path | None) -> str | None:
    return None if file is None or not file.is_file() else file_hash(file)


def _is_file(path: str) -> bool:
    file = Path(path).expanduser()
    return file.exists() or file.suffix in (".json", ".txt")


def _load(path: str) -> tokenizers.Tokenizer:
    file, local = Path(path).expanduser(), _is_file(path)
    if path in _failures:
        raise InputError(_failures[path])
    if local and not file.is_file():
        raise InputError(
            f"Tokenizer file `{path}` does not exist; set it to a tokenizer.json, a vocab.txt or a hub name."
        )
    try:
        if not local:
            return _load_from_hub(path)
        if file.suffix != ".txt":
            return tokenizers.Tokenizer.from_file(str(file))
        vocabulary = models.WordPiece.read_file(str(file))
    except Exception as error:  # errors of the library and of the network share no base class
        message = f"Tokenizer `{path}` cannot be loaded ({type(error).__name__}: {error}); check the "
        if local:
            raise InputError(f"{message}file.") from error
        _failures[path] = f"{message}name and the network, or give a tokenizer.json."
        raise InputError(_failures[path]) from error
    if UNKNOWN not in vocabulary:
        raise InputError(f"`{path}` is not a BERT vocabulary: it has no {UNKNOWN}; use a tokenizer.json instead.")
    return bert_backend(vocabulary, lowercase=True)


def _load_from_hub(name: str) -> tokenizers.Tokenizer:
    if not isinstance(try_to_load_from_cache(name, FILE), str):
        # one request first: the download itself would repeat a request that fails five times, for half a minute
        get_hf_file_metadata(hf_hub_url(name, FILE))
    return tokenizers.Tokenizer.from_pretrained(name)
