"""Text of another source, put together again."""

import json
from collections.abc import Iterator
from hashlib import blake2b

from typing_extensions import override

from uddm_lightning.data.detokenizers.base import Detokenizer
from uddm_lightning.data.sources.base import Document, Source


class Detokenized(Source):
    """The documents of a source, each rewritten by a detokenizer; official splits stay.

    Args:
        source: where the text comes from.
        detokenizer: how its words and signs are put together.
    """

    def __init__(self, source: Source, detokenizer: Detokenizer) -> None:
        self.source = source
        self.detokenizer = detokenizer

    @override
    def documents(self) -> Iterator[Document]:
        for document in self.source.documents():
            yield document._replace(text=self.detokenizer(document.text))

    @override
    def fingerprint(self) -> str:
        # the rules stand for what they do: to apply them to all text at the start of every run would take minutes
        rules = json.dumps(self.detokenizer.spec(), sort_keys=True)
        return blake2b(f"{self.source.fingerprint()}:{rules}".encode(), digest_size=16).hexdigest()
