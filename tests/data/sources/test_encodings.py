"""Text that is not UTF-8 is refused with the command that converts it."""

# ruff: noqa: RUF001 the test texts use many alphabets

import codecs
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.texts import ListSource
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import (
    CharacterTokenizer,
    Detokenized,
    Document,
    DocumentPacking,
    HubDataset,
    LM1BDetokenizer,
    Source,
    TextFiles,
)
from uddm_lightning.data.sources.encodings import PYTHON_NAMES, detect_encoding
from uddm_lightning.data.sources.reading import read_lines
from uddm_lightning.data.split import split_documents
from uddm_lightning.data.text_rows import TextRows

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
TEXTS = {
    "English": ("The president's speech was long.\n", []),
    "French": (
        "Le président a été élu à l'Assemblée nationale, où il a parlé.\n",
        ["latin-1", "cp1252", "mac-roman", "cp850"],
    ),
    "French, quoted": ("« L’économie », a-t-il dit — déjà.\n", ["cp1252", "mac-roman"]),
    "German": ("Der Präsident hält eine Rede über die Größe der Länder.\n", ["latin-1", "cp1252", "cp850"]),
    "Spanish": ("¿Qué pasó? El niño comió en España mañana.\n", ["latin-1", "cp1252"]),
    "Polish": ("Prezydent wygłosił przemówienie, gdzie był długo oczekiwany. Później.\n", ["cp1250", "iso8859-2"]),
    "Czech": ("Příliš žluťoučký kůň úpěl ďábelské ódy.\n", ["cp1250", "iso8859-2"]),
    "Turkish": ("Cumhurbaşkanı mecliste uzun bir konuşma yaptı. Güneş ışığı.\n", ["cp1254"]),
    "Russian": ("Президент выступил с речью.\nЭто было давно.\n", ["koi8-r", "cp1251", "cp866", "iso8859-5"]),
    "Russian, loud": ("ПРЕЗИДЕНТ ВЫСТУПИЛ С РЕЧЬЮ.\n", ["koi8-r", "cp1251"]),
    "Greek": ("Ο πρόεδρος μίλησε στη βουλή για πολλή ώρα σήμερα.\n", ["cp1253"]),
    "Hebrew": ("הנשיא נאם בפני הכנסת במשך זמן רב היום\n", ["cp1255"]),
    "Arabic": ("ألقى الرئيس خطابا طويلا أمام البرلمان اليوم\n", ["cp1256"]),
    "Japanese": (
        "大統領は国民に向けて演説を行いました。それは長いものでした。\n",
        ["shift_jis", "euc-jp", "iso-2022-jp"],
    ),
    "Chinese": ("总统在国会发表了很长的讲话,他说我们的国家是强大的。\n", ["gbk", "gb18030"]),
    "Chinese, Taiwan": ("總統在國會發表了很長的講話,他說我們的國家是強大的。\n", ["big5"]),
    "Korean": ("대통령은 국회에서 매우 긴 연설을 하였다. 그는 말했다.\n", ["euc-kr"]),
}
CASES = [(name, encoding) for name, (_, narrow) in TEXTS.items() for encoding in [*narrow, *WIDE]]


@pytest.mark.parametrize("times", [1, 3000])
@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_the_detected_encoding_decodes_the_text(tmp_path: Path, name: str, encoding: str, times: int) -> None:
    text = TEXTS[name][0] * times
    path = tmp_path / "the text.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"the text\.txt`, line 1: byte \d+ of the file ") as caught:
        list(read_lines(path))
    found = re.search(r"it looks like (\S+); convert it with `iconv -f (\S+) -t UTF-8 ", str(caught.value))
    assert found, caught.value
    assert found[1] == found[2]
    assert codecs.decode(path.read_bytes(), PYTHON_NAMES.get(found[1], found[1])).removeprefix("\ufeff") == text


@pytest.mark.skipif(shutil.which("iconv") is None, reason="no iconv on this machine")
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
@pytest.mark.parametrize(("name", "encoding"), CASES[::3])
def test_the_command_runs(tmp_path: Path, name: str, encoding: str, suffix: str) -> None:
    raw = TEXTS[name][0].encode(encoding)
    path = tmp_path / f"it's{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix.endswith(".gz") else raw)
    with pytest.raises(InputError) as caught:
        list(read_lines(path))
    command = re.search(r"convert it with `(.*)` and use the new file", str(caught.value))
    assert command
    subprocess.run(command[1], shell=True, check=True)  # noqa: S602 as a user would
    assert list(read_lines(tmp_path / f"it's_utf8{suffix}")) == TEXTS[name][0].splitlines()


def test_utf8_is_never_detected_as_another_encoding(tmp_path: Path) -> None:
    for text, _ in TEXTS.values():
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        assert list(read_lines(tmp_path / "a.txt")) == text.splitlines()


def test_unknown_encodings_and_damaged_text(tmp_path: Path) -> None:
    for raw, message in (
        (b"the text\0and more\nof it", r"byte 8 of the file is null, .* remove null bytes with `tr -d '\\000' <"),
        ("déjà vu là ".encode() + b"\xff\n", r"is not UTF-8; the text around it is UTF-8: repair or remove it"),
        (bytes(range(1, 256)), r"its encoding is not a common one; .* `iconv -f ENCODING -t UTF-8"),
        (b"fine\n" * 20_000 + "naïve façade\n".encode("cp1252"), r"line 20001: byte 100002 .* WINDOWS-1252"),
    ):
        (tmp_path / "a.txt").write_bytes(raw)
        with pytest.raises(InputError, match=message):
            list(read_lines(tmp_path / "a.txt"))
    assert detect_encoding(b"plain") is None


NULLS = "one\0two"


def null_sources(folder: Path) -> dict[str, Callable[[], object]]:
    (folder / "a.txt").write_text(NULLS, encoding="utf-8")
    (folder / "a.jsonl").write_text(json.dumps({"text": NULLS}), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"text": [NULLS]}), folder / "a.parquet")

    def read(source: Source) -> list[Document]:
        return list(source.documents())

    return {
        "text": lambda: read(TextFiles(str(folder / "a.txt"))),
        "json": lambda: read(TextFiles(str(folder / "a.jsonl"))),
        "parquet": lambda: read(TextFiles(str(folder / "a.parquet"))),
        "datasets": lambda: read(HubDataset("json", data_files=str(folder / "a.jsonl"))),
        "detokenized": lambda: read(Detokenized(TextFiles(str(folder / "a.txt")), LM1BDetokenizer())),
        "a plugin": lambda: split_documents(ListSource([NULLS, "b"]), 0.5),
        "predict": lambda: TextRows.from_file(str(folder / "a.txt"), CharacterTokenizer("abc "), DocumentPacking(8)),
    }


@pytest.mark.parametrize("kind", ["text", "json", "parquet", "datasets", "detokenized", "a plugin", "predict"])
def test_null_characters_are_refused_in_every_source(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"(`data\.source`|a\.\w+|json).*(null)"):
        null_sources(tmp_path)[kind]()
