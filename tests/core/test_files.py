import errno
import os
import tempfile
from pathlib import Path

import pytest

from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import check_output_files, write_atomically


def write_half_and_fail(error: BaseException, path: Path) -> None:
    path.write_text("half of")
    raise error


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    write_atomically(path, lambda place: place.write_text("one"))
    write_atomically(path, lambda place: place.write_text("two"))
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o444 == 0o444
    assert list(path.parent.iterdir()) == [path]


def test_previous_file_is_complete_during_a_write(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write(place: Path) -> None:
        assert place != path
        assert place.parent == path.parent, "a rename across file systems is not atomic"
        place.write_text("half of")
        assert path.read_text() == "old"

    write_atomically(path, write)
    assert path.read_text() == "half of"


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), ValueError("no")])
def test_failed_write_keeps_the_previous_file_and_leaves_no_temporary_file(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_atomically(path, lambda place: write_half_and_fail(error, place))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        write_atomically(tmp_path / "table.csv", lambda place: write_half_and_fail(RuntimeError("boom"), place))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_error(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(
        DiskFullError, match=r"table\.csv`: No space left on device\. The previous content is unchanged"
    ):
        write_atomically(path, lambda place: write_half_and_fail(full, place))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_path_is_a_folder_error(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.mkdir()
    with pytest.raises(InputError, match=r"^Cannot write `.*table\.csv`: Is a directory"):
        write_atomically(path, lambda place: place.write_text("new"))
    assert list(tmp_path.iterdir()) == [path]


def test_parent_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match=r"^Cannot write `.*runs/table\.csv`: (File exists|Not a directory)\. Choose"):
        write_atomically(tmp_path / "runs" / "table.csv", lambda place: place.write_text("new"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(
            InputError, match=r"^Cannot write `.*table\.csv`: Permission denied\. Choose another folder"
        ):
            write_atomically(tmp_path / "table.csv", lambda place: place.write_text("new"))
    finally:
        tmp_path.chmod(0o755)


def test_permission_error_of_mkstemp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate the refusal, because root may write everywhere."""

    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(InputError, match=r"^Cannot write `.*table\.csv`: Permission denied\. Choose another folder"):
        write_atomically(tmp_path / "table.csv", lambda place: place.write_text("new"))
    assert list(tmp_path.iterdir()) == []


def test_output_files_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_output_files({"--out": None, "--json": tmp_path / "new" / "a.json", "--html": tmp_path / "file"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is written"
    with pytest.raises(InputError, match=r"^`--html .*` is a folder; give the path of a file"):
        check_output_files({"--html": tmp_path})
    with pytest.raises(InputError, match=r"^`--json` and `--html` both name `.*a`; give two files"):
        check_output_files({"--json": tmp_path / "a", "--html": tmp_path / "a"})
    with pytest.raises(InputError, match=r"^`--out .*file/a` cannot be written: Not a directory\. Give another file"):
        check_output_files({"--out": tmp_path / "file" / "a"})
