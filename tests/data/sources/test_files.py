import gzip
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.files import parquet, texts, write
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import Document, TextFiles
from uddm_lightning.data.sources import reading

POEM = "one\ntwo\n\n\nthree\r\nfour\n"


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("line", ["one", "two", "three", "four"]),
        ("paragraph", ["one\ntwo", "three\nfour"]),
        ("file", ["one\ntwo\n\n\nthree\nfour"]),
    ],
)
def test_text_documents(tmp_path: Path, suffix: str, document: str, expected: list[str]) -> None:
    path = write(tmp_path / f"poem{suffix}", POEM)
    source = TextFiles(str(path), document=document)
    assert texts(source) == expected
    assert texts(source) == expected, "a source can be read again"


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_json_records(tmp_path: Path, suffix: str) -> None:
    records = [{"text": "one\ntwo", "n": 1}, {"text": "ünï"}]
    path = write(tmp_path / f"a{suffix}", "\n\n".join(json.dumps(record) for record in records))
    assert texts(TextFiles(str(path))) == ["one\ntwo", "ünï"]


@pytest.mark.parametrize("suffix", [".parquet", ".parquet.gz"])
def test_parquet_columns(tmp_path: Path, suffix: str) -> None:
    values = [f"row {number}" for number in range(3000)]
    path = parquet(tmp_path / "a.parquet", other=list(range(3000)), body=values)
    if suffix == ".parquet.gz":
        path = write(tmp_path / "a.parquet.gz", path.read_bytes())
    assert texts(TextFiles(str(path), field="body")) == values


def test_patterns_are_sorted_and_cross_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "b.txt", "b")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "deep" / "er" / "c.txt", "c")
    write(tmp_path / "x[1].txt", "x")
    monkeypatch.chdir(tmp_path)
    assert texts(TextFiles("?.txt")) == ["a", "b"]
    assert texts(TextFiles(["b.txt", "a.txt", "*.txt"])) == ["a", "b", "x"]
    assert texts(TextFiles("**/c.txt")) == ["c"]
    assert texts(TextFiles("x[1].txt")) == ["x"], "an existing file wins over a pattern"


def test_official_split(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train.txt", "a\nb"), write(tmp_path / "test.txt", "c")
    source = TextFiles(str(train), test_paths=str(test))
    assert list(source.documents()) == [Document("a", "train"), Document("b", "train"), Document("c", "test")]
    with pytest.raises(InputError, match=r"test\.txt` is in `paths` and in `test_paths`"):
        list(TextFiles(str(tmp_path / "*.txt"), test_paths=str(test)).documents())


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert texts(TextFiles(str(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\ntwo")))) == ["one", "two"]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "é\u2028".encode(), b"\xef\xbb\xbf", b"\xff", b"\xc3"])))
@settings(max_examples=120, deadline=None)
def test_lines_do_not_depend_on_how_the_file_is_read(parts: list[bytes]) -> None:
    content = b"".join(parts)

    def found(piece: int) -> list[str] | str:
        with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
            Path(file.name).write_bytes(content)
            patch.setattr(reading, "CHUNK_BYTES", piece)
            try:
                return list(reading.read_lines(Path(file.name)))
            except InputError as error:
                return str(error).replace(file.name, "")

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode().replace("\r\n", "\n").replace("\r", "\n")
        expected = f"``, line {before.count(chr(10)) + 1}: byte {error.start} of the file is not UTF-8;"
        assert str(found(1)).startswith(expected)
    else:
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert found(1) == (lines if lines[-1] else lines[:-1])
    assert found(1) == found(2) == found(2**20)


BAD_FILES = [
    ("a.txt", b"", "a.txt` contains no text"),
    ("a.txt", b" \n\n", "a.txt` contains no text"),
    ("a.jsonl", b"", "a.jsonl` contains no text"),
    (
        "a.txt",
        b"fine\nna\xefve\n",
        r"a.txt`, line 2: byte 7 of the file is not UTF-8; it looks like WINDOWS-1252; convert it with `iconv -f",
    ),
    ("a.txt", b"\xef\xbb\xbfab\xff", r"line 1: byte 5 of the file is not UTF-8"),
    (
        "a.jsonl",
        b'{"text": "a"}\n{"text": \n',
        r"a.jsonl`, line 2: not valid JSON \(.*\); write one JSON object per line",
    ),
    ("a.jsonl", b"[" * 100000, r"line 1: not valid JSON"),
    ("a.jsonl", b'"text"', r"line 1: a str instead of a JSON object with a field `text`"),
    ("a.jsonl", b'{"body": "a"}', r"line 1: no field `text`; set `field` to one of \['body'\]"),
    ("a.jsonl", b'{"text": 3}', r"line 1, field `text`: 3 is not text; choose a `field` that holds strings"),
    ("a.parquet", b"PAR0", r"a.parquet` is not a readable Parquet file"),
    ("a.csv", b"a,b", r"a.csv` has an unknown suffix; use .txt, .jsonl, .parquet, .* or set `any_file`"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    source = TextFiles(str(write(tmp_path / name, content)))
    with pytest.raises(InputError, match=message):
        list(source.documents())


def test_any_file_is_read_as_text_and_empty_ones_are_skipped(tmp_path: Path) -> None:
    for name, content in {"a.py": "x = 1", "b.py": "", "c.txt": "text"}.items():
        write(tmp_path / name, content.encode())
    source = TextFiles(str(tmp_path / "*"), any_file=True)
    assert [document.text for document in source.documents()] == ["x = 1", "text"]
    assert [path.name for path in source.files] == ["a.py", "b.py", "c.txt"]
    with pytest.raises(InputError, match=r"b\.txt` contains no text"):
        list(TextFiles(str(write(tmp_path / "b.txt", b""))).documents())


def test_bad_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(b"text of some length\n" * 1000)
    for content in (whole[: len(whole) // 2], b"plain text", whole[:20] + b"\xff" * 20 + whole[40:]):
        (tmp_path / "a.txt.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.txt\.gz` is not a complete gzip file"):
            list(TextFiles(str(tmp_path / "a.txt.gz")).documents())


def test_bad_parquet_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", body=["a", None])
    with pytest.raises(InputError, match=r"no column `text`; set `field` to one of \['body'\]"):
        list(TextFiles(str(path)).documents())
    with pytest.raises(InputError, match=r"row 2, column `body`: None is not text"):
        list(TextFiles(str(path), field="body").documents())


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`paths`: no file matches `.*nothing\.txt`"):
        list(TextFiles(str(tmp_path / "nothing.txt")).documents())
    with pytest.raises(InputError, match=r"`test_paths`: no file matches"):
        list(TextFiles(str(write(tmp_path / "a.txt", "a")), test_paths=str(tmp_path / "*.text")).documents())
    with pytest.raises(InputError, match=r"is a folder; name its files, e\.g\. `.*\*\.txt`"):
        TextFiles(str(tmp_path)).fingerprint()
    with pytest.raises(InputError, match="`paths` is empty"):
        TextFiles([]).fingerprint()
    with pytest.raises(ValueError, match="`document` must be line, paragraph or file, got 'page'"):
        TextFiles("a.txt", document="page")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", "a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    for use in (lambda: list(TextFiles(str(path)).documents()), lambda: TextFiles(str(path)).fingerprint()):
        with pytest.raises(InputError, match=r"a\.txt` cannot be read: Permission denied"):
            use()


def test_fingerprint_follows_the_content_alone(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.txt", "a\nb"), write(tmp_path / "two.txt", "c\nd")
    before = TextFiles(str(one)).fingerprint()
    os.utime(one, (1, 1))
    assert TextFiles(str(one)).fingerprint() == before
    one.rename(tmp_path / "moved.txt")
    moved = str(tmp_path / "moved.txt")
    assert TextFiles(moved).fingerprint() == before
    others = [
        TextFiles(moved, document="file"),
        TextFiles(moved, field="body"),
        TextFiles([moved, str(two)]),
        TextFiles(moved, test_paths=str(two)),
        TextFiles(str(two)),
    ]
    assert len({before, *(other.fingerprint() for other in others)}) == 1 + len(others)
