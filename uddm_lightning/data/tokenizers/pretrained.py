"""Tokenizers that others have made."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.component_spec import describe, digest
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.fingerprints import changed, file_hash
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.wordpiece import UNKNOWN, bert_backend

# Names in use, the first one found wins.
KNOWN = {
    "bos": ("[CLS]", "<s>", "<|endoftext|>"),
    "eos": ("[SEP]", "</s>", "<|endoftext|>"),
    "separator": ("[SEP]", "</s>", "<|endoftext|>"),
    "pad": ("[PAD]", "<pad>", "<|endoftext|>"),
}


class PretrainedTokenizer(Tokenizer):
    """A `tokenizer.json`, a `vocab.txt` of an uncased BERT, or the name of a model on the Hugging Face hub.

    Args:
        path: file or name.
        bos: token at the beginning of a row; None looks for a usual name, "" means none. So do the next three.
        eos: token at the end of a row.
        separator: token between two sentences.
        pad: token that fills a row up.
    """

    def __init__(
        self,
        path: str,
        bos: str | None = None,
        eos: str | None = None,
        separator: str | None = None,
        pad: str | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self._file = Path(path).expanduser() if _is_file(path) else None
        self._hash = _hash(self._file)
        self._adopt(_load(path))
        self.check_unchanged()
        self._bos = self._choose("bos", bos)
        self._eos = self._choose("eos", eos)
        self._separator = self._choose("separator", separator)
        self._pad = self._choose("pad", pad)
        self._set_apart()

    @classmethod
    @override
    def from_spec(cls, spec: dict[str, Any], file: Path) -> "PretrainedTokenizer":
        # the file says all, wherever the tokenizer came from; a role that nobody has is not looked for again
        return cls(str(file), **{role: name or "" for role, name in spec["init_args"].items()})

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
        if _hash(self._file) != self._hash:
            raise changed(f"Tokenizer file `{self.path}`")

    @override
    def spec(self) -> dict[str, Any]:
        # what it holds counts, not where it lies
        names = {"bos": self._bos, "eos": self._eos, "separator": self._separator, "pad": self._pad}
        return {
            "class_path": describe(self)["class_path"],
            "init_args": names,
            "content": digest(self.to_json().encode()),
        }

    def _set_apart(self) -> None:
        """Makes special tokens of those that the packing puts, so that text which spells them is written otherwise."""
        content, ours = json.loads(self.to_json()), {self._bos, self._eos, self._separator, self._pad}
        plain = [token for token in content["added_tokens"] if token["content"] in ours and not token["special"]]
        for token in plain:
            token["special"] = True
        if plain:
            self.from_json(json.dumps(content, ensure_ascii=False))

    def _choose(self, role: str, name: str | None) -> str | None:
        if name == "":
            return None
        if name is None:
            return next((known for known in KNOWN[role] if self._id(known) is not None), None)
        if self._id(name) is None:
            raise InputError(f'`{role}` is {name!r}, which is no token of `{self.path}`; name one, or "" for none.')
        return name


def _hash(file: Path | None) -> str | None:
    return None if file is None or not file.is_file() else file_hash(file)


def _is_file(path: str) -> bool:
    file = Path(path).expanduser()
    return file.exists() or file.suffix in (".json", ".txt")


def _load(path: str) -> tokenizers.Tokenizer:
    file, local = Path(path).expanduser(), _is_file(path)
    if local and not file.is_file():
        raise InputError(f"Tokenizer file `{path}` does not exist; name a tokenizer.json, a vocab.txt or a hub name.")
    try:
        if not local:
            return tokenizers.Tokenizer.from_pretrained(path)
        if file.suffix != ".txt":
            return tokenizers.Tokenizer.from_file(str(file))
        vocabulary = models.WordPiece.read_file(str(file))
    except Exception as error:  # the library raises bare exceptions, and those of the network are many
        raise InputError(
            f"Tokenizer `{path}` cannot be loaded ({type(error).__name__}: {error}); check the "
            + ("file." if local else "name and the network, or give a tokenizer.json.")
        ) from error
    if UNKNOWN not in vocabulary:
        raise InputError(f"`{path}` is no vocabulary of BERT: it lacks {UNKNOWN}; name a tokenizer.json instead.")
    return bert_backend(vocabulary, lowercase=True)
