"""Datasets of the hub."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.files import parquet, texts, write, write_texts
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import Document, HubDataset

pytestmark = pytest.mark.usefixtures("own_datasets")


def test_hub_dataset_from_local_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data" / "train-0.parquet", text=["a", "b"])
    parquet(tmp_path / "data" / "test-0.parquet", text=["c"])
    source = HubDataset(str(tmp_path / "data"), test_split="test")
    assert list(source.documents()) == [Document("a", "train"), Document("b", "train"), Document("c", "test")]
    assert texts(HubDataset(str(tmp_path / "data"))) == ["a", "b"]
    assert source.fingerprint() == HubDataset(str(tmp_path / "data"), test_split="test").fingerprint()

    lines = write(tmp_path / "a.jsonl", '{"body": "x"}\n{"body": "y"}\n')
    files = HubDataset("json", data_files=str(lines), field="body")
    assert texts(files) == ["x", "y"]
    with pytest.raises(InputError, match=r"Dataset `json`, split `train`: no column `text`; set `field` to .*'body'"):
        list(HubDataset("json", data_files=str(lines)).documents())
    with pytest.raises(InputError, match=r"Dataset `json` \(name None, split 'valid'\) cannot be loaded: ValueError"):
        list(HubDataset("json", split="valid", data_files=str(lines)).documents())


def test_missing_hub_dataset() -> None:
    with pytest.raises(InputError, match=r"Dataset `no/such` .* cannot be loaded: .*Check the names, and the network"):
        list(HubDataset("no/such").documents())
    with pytest.raises(ValueError, match="`test_split` must differ from `split`, got 'train' for both"):
        HubDataset("json", test_split="train")


def test_a_file_that_changes_while_datasets_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    path = write_texts(tmp_path / "a.jsonl", ["one", "two"])
    load = datasets.load_dataset

    def disturbed(*arguments: Any, **options: Any) -> Any:
        write_texts(path, ["two", "one"])
        return load(*arguments, **options)

    monkeypatch.setattr("datasets.load_dataset", disturbed)
    with pytest.raises(InputError, match="A file of dataset `json` changed while it was read"):
        list(HubDataset("json", data_files=str(path)).documents())
    monkeypatch.setattr("datasets.load_dataset", load)
    for given in (["one", "two"], ["two", "one"]):
        write_texts(path, given)
        assert [one.text for one in HubDataset("json", data_files=str(path)).documents()] == given


def test_an_incomplete_cache_of_datasets_is_rebuilt(tmp_path: Path) -> None:
    path = write_texts(tmp_path / "a.jsonl", ["one", "two"])
    source = HubDataset("json", data_files=str(path))
    list(source.documents())
    (complete,) = (tmp_path / "hf").glob("uddm_lightning/*/complete")
    complete.unlink()
    (complete.parent / "rubbish").touch()
    assert [one.text for one in source.documents()] == ["one", "two"]
    assert not (complete.parent / "rubbish").exists()


def test_a_cache_of_datasets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "uddm_lightning").touch()
    with pytest.raises(InputError, match=r"cache folder `.*hf/uddm_lightning/.*cannot be used .*\$HF_HOME"):
        list(HubDataset("json", data_files=str(write_texts(tmp_path / "a.jsonl", ["one"]))).documents())


TEN = [f"text {number}" for number in range(10)]


@pytest.mark.parametrize(
    ("split", "test_split"),
    [
        ("train[:80%]", "train[50%:]"),
        ("train", "train[:10%]"),
        ("train[:5]", "train[4:]"),
        ("train[-3:]", "train[7:8]"),
        ("train+test", "test"),
        ("test+train[:50%]", "train[4:6]+test[:0]"),
        ("train", "train[:100%]"),
        ("all", "test"),
    ],
)
def test_splits_that_share_records_are_refused(tmp_path: Path, split: str, test_split: str) -> None:
    files = {
        name: str(write_texts(tmp_path / f"{name}.jsonl", [name + text for text in TEN])) for name in ("train", "test")
    }
    source = HubDataset("json", data_files=files, split=split, test_split=test_split)
    with pytest.raises(
        InputError, match=r"`split: .*` and `test_split: .*` share records \d to \d of `(train|test)`"
    ) as e:
        source.fingerprint()
    assert split in str(e.value)
    assert test_split in str(e.value)
    with pytest.raises(InputError, match="share records"):
        list(source.documents())


@pytest.mark.parametrize(
    ("split", "test_split"),
    [
        ("train[:80%]", "train[80%:]"),
        ("train", "test"),
        ("train[:3]+train[6:]", "train[3:6]"),
        ("train[:5]", "test+train[7:]"),
    ],
)
def test_splits_that_share_nothing(tmp_path: Path, split: str, test_split: str) -> None:
    files = {
        name: str(write_texts(tmp_path / f"{name}.jsonl", [name + text for text in TEN])) for name in ("train", "test")
    }
    documents = list(HubDataset("json", data_files=files, split=split, test_split=test_split).documents())
    sides = [{one.text for one in documents if one.split == name} for name in ("train", "test")]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_one_file_in_both_splits_is_refused(tmp_path: Path) -> None:
    path = str(write_texts(tmp_path / "a.jsonl", TEN))
    with pytest.raises(
        InputError,
        match=r"a\.jsonl` is in `split: train` and in `test_split: test`; training and held-out text must not overlap",
    ):
        list(HubDataset("json", data_files={"train": path, "test": path}, test_split="test").documents())
