"""Vocabulary file for the tests of tokenizers."""

from pathlib import Path

import pytest

from tests.support.texts import VOCABULARY


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY), encoding="utf-8")
    return str(path)
