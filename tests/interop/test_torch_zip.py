"""Tensors are read from their records and from nowhere else, and damage is noticed."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.foreign import described, zipped
from uddm_lightning.interop.safe_pickle import DamagedError
from uddm_lightning.interop.torch_zip import DTYPES, StoredTensor, TorchFile


def storage(key: Any = "0", numbers: Any = 6, kind: Any = torch.FloatStorage) -> Any:
    return ("storage", kind, key, "cpu", numbers)


def test_every_type_view_and_shape_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    saved = {str(dtype): torch.arange(5).to(dtype) for dtype in DTYPES.values()}
    saved |= {"rows": base[1:3], "columns": base[:, 2:4], "turned": base.t(), "one": torch.tensor(3.0)}
    saved |= {"none": torch.empty(0, 3), "weight": torch.nn.Parameter(torch.randn(2, 2))}
    path = tmp_path / "saved.pt"
    torch.save(saved, path)
    expected = torch.load(path, weights_only=True)
    with TorchFile(path) as file:
        assert list(file.content) == list(saved)
        for name, stored in file.content.items():
            assert torch.equal(file.tensor(stored), expected[name]), name
            assert file.tensor(stored).dtype == expected[name].dtype


def test_a_type_that_is_not_read_matters_only_where_it_is_asked_for(tmp_path: Path) -> None:
    torch.save({"odd": torch.tensor([1j]), "even": torch.ones(2)}, tmp_path / "saved.pt")
    with TorchFile(tmp_path / "saved.pt") as file:
        assert torch.equal(file.tensor(file.content["even"]), torch.ones(2))
        with pytest.raises(DamagedError, match="type that is not read"):
            file.tensor(file.content["odd"])


def test_a_tensor_by_hand_is_read(tmp_path: Path) -> None:
    numbers = torch.arange(6.0)
    path = zipped(tmp_path / "x.pt", described(storage(), 1, (2, 2), (2, 1)), {"0": numbers.numpy().tobytes()})
    with TorchFile(path) as file:
        assert torch.equal(file.tensor(file.content), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "message"),
    [
        (-1, (2,), (1,), "no tensor has"),
        (0, (-2,), (1,), "no tensor has"),
        (0, (2,), (-1,), "no tensor has"),
        (0, (2, 2), (1,), "no tensor has"),
        (True, (2,), (1,), "no tensor has"),
        (2**62, (1,), (1,), "no tensor has"),
        (0.0, (2,), (1,), "does not use"),
        (0, [2], (1,), "does not use"),
        (0, (7,), (1,), "beyond its record"),
        (5, (2,), (1,), "beyond its record"),
        (6, (1,), (1,), "beyond its record"),
        (0, (2,), (6,), "beyond its record"),
        (0, (10**6, 10**6), (0, 0), "beyond its record"),
    ],
)
def test_a_tensor_outside_its_record_is_refused(
    tmp_path: Path, offset: Any, shape: Any, stride: Any, message: str
) -> None:
    path = zipped(tmp_path / "x.pt", described(storage(), offset, shape, stride), {"0": bytes(24)})
    with pytest.raises(DamagedError, match=message), TorchFile(path) as file:
        file.tensor(file.content)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (storage(key="1"), "are missing"),
        (storage(key="../../../../etc/passwd"), "are missing"),
        (storage(key="../data.pkl"), "are missing"),
        (storage(key=0), "does not use"),
        (storage(numbers=5), "another size"),
        (storage(numbers=2**61), "another size"),
        (storage(kind=print), "does not use"),
        (storage(kind=storage()), "does not use"),
        (("storage",), "does not use"),
        ("0", "does not use"),
    ],
)
def test_a_storage_that_is_none_is_refused(tmp_path: Path, place: Any, message: str) -> None:
    path = zipped(tmp_path / "x.pt", described(place, 0, (1,), (1,)), {"0": bytes(24)})
    with pytest.raises(DamagedError, match=message), TorchFile(path) as file:
        file.tensor(file.content)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DamagedError, match=r"torch 1\.6 or later"):
        TorchFile(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "x")
    with pytest.raises(DamagedError, match=r"holds no `data\.pkl`"):
        TorchFile(path)
    zipped(path, b"N.", {"0": bytes(1000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedError, match="compressed"):
        TorchFile(path)
    zipped(path, b"N.", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(DamagedError, match="the same name"):
        TorchFile(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/byteorder", "middle")
    with pytest.raises(DamagedError, match="order of bytes"):
        TorchFile(path)


def test_a_pickle_larger_than_any_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uddm_lightning.interop.torch_zip.LARGEST_PICKLE", 3)
    with pytest.raises(DamagedError, match="larger than"):
        TorchFile(zipped(tmp_path / "x.pt", b"NNN0.", {}))


def test_no_flipped_bit_and_no_missing_end_goes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    saved = {"a": torch.arange(50.0), "b": torch.arange(7), "c": "text"}
    torch.save(saved, path)
    whole = path.read_bytes()

    def content() -> dict[str, Any]:
        with TorchFile(path) as file:
            items = file.content.items()
            return {name: file.tensor(one) if isinstance(one, StoredTensor) else one for name, one in items}

    noticed = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found = content()
        except DamagedError:
            noticed += 1
        else:  # it was in the padding between the records
            assert found["c"] == "text"
            assert all(torch.equal(found[name], saved[name]) for name in ("a", "b"))
    assert noticed > len(whole) // 7 // 3
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError):
            content()
