"""Write small files of text, and read sources."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from uddm_lightning.data import HubDataset, TextFiles


def texts(source: TextFiles | HubDataset) -> list[str]:
    return [document.text for document in source.documents()]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def parquet(path: Path, **columns: Sequence[object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def write_texts(path: Path, texts: list[str]) -> Path:
    """Write texts to a file of the kind of its suffix, with an old modification time."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    elif path.suffix == ".csv":
        path.write_text("text\n" + "".join(text + "\n" for text in texts), encoding="utf-8")
    else:
        path.write_text("\n".join(texts), encoding="utf-8")
    os.utime(path, (1, 1))
    return path
