"""Detokenized text of another source."""

import json
from collections.abc import Iterator

from typing_extensions import override

from uddm_lightning.data.checksums import content_hash
from uddm_lightning.data.detokenizers.base import Detokenizer
from uddm_lightning.data.sources.base import Document, Source


class Detokenized(Source):
    """Documents of another source, each rewritten by a detokenizer; official splits stay unchanged.

    Args:
        source: source of tokenized text.
        detokenizer: detokenizer for the format of the source.
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
        # hashes the rules instead of the detokenized text, which would take minutes at the start of every run
        rules = json.dumps(self.detokenizer.spec(), sort_keys=True)
        return content_hash(f"{self.source.fingerprint()}:{rules}")
