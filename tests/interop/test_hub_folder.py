"""Folders from elsewhere: nothing in them is run, and damage is one message."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.interop.conftest import network
from tests.support.hub import hub_folder, raw_safetensors, shard, weights_of, write_index
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop import hub_folder as module
from uddm_lightning.interop.hub_folder import HubFolder

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hub_folder(tmp_path / "model", network(1))


def test_weights_are_read_from_one_file_and_from_shards(folder: Path) -> None:
    expected = weights_of(folder)
    for change in (lambda: None, lambda: shard(folder)):
        change()
        weights = HubFolder(folder).weights
        assert set(weights) == set(expected)
        for name, value in expected.items():
            assert weights.entries[name].shape == tuple(value.shape)
            assert torch.equal(weights[name], value)


def test_shards_are_read_when_they_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = shard(folder)
    weights = HubFolder(folder).weights
    opened: list[str] = []
    real = module.safe_open
    monkeypatch.setattr(module, "safe_open", lambda file, **options: opened.append(file.name) or real(file, **options))
    name = min(where)
    for _ in range(2):
        _ = weights[name]
    assert opened == [where[name]]


def test_the_hub_s_cache_links_to_blobs_beside_the_snapshot(tmp_path: Path, folder: Path) -> None:
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "abc"
    for made in (blobs, snapshot):
        made.mkdir(parents=True)
    for number, name in enumerate(("config.json", "model.safetensors")):
        (folder / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(Path("../../blobs") / str(number))
    assert HubFolder(snapshot).config["vocab_size"] == 21


def header(content: object, data: bytes = b"12345678", length: int | None = None) -> Change:
    return lambda folder: raw_safetensors(folder / "model.safetensors", content, data, length)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def index(name: str) -> Change:
    def change(folder: Path) -> None:
        where = shard(folder)
        write_index(folder, {**where, min(where): name})

    return change


def linked(name: str) -> Change:
    def change(folder: Path) -> None:
        outside = folder.parent / "outside"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")


def written(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def bare_index(content: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_bytes(content)

    return change


def huge_config(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**40)  # a sparse file


def twice(folder: Path) -> None:
    where = shard(folder)
    first, second = sorted(set(where.values()))
    (folder / second).write_bytes((folder / first).read_bytes())


HOSTILE = {
    "pickles": (pickled, r"only pytorch_model\.bin, which may run code when it is read and is not opened"),
    "empty": (lambda folder: (folder / "model.safetensors").unlink(), "neither `model.safetensors` nor"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"holds no `config\.json`"),
    "config is no JSON": (written("config.json", b"{"), r"its `config\.json` is no JSON \("),
    "config is a list": (written("config.json", b"[]"), r"its `config\.json` is no JSON object"),
    "config is deep": (written("config.json", b"[" * 10**6), r"its `config\.json` is no JSON \("),
    "config is no UTF-8": (written("config.json", b'{"\xff"'), r"its `config\.json` cannot be read"),
    "config is huge": (huge_config, r"its `config\.json` has 1,099,511,627,776 bytes, more than"),
    "no header": (written("model.safetensors", b"1234567"), "says that its header has 7 bytes, and it has 7"),
    "header is huge": (header({}, length=2**63), "says that its header has 9,223,372,036,854,775,808 bytes"),
    "header is larger than the library allows": (header({}, length=100_000_001), "its header has 100,000,001 bytes"),
    "header is no JSON": (header(b"{{", b""), "the header of `model.safetensors` is damaged"),
    "header is a list": (header([1], b""), "the header of `model.safetensors` is damaged"),
    "a name twice": (header(b'{"a":{},"a":{}}', b""), "a name is there twice"),
    "offsets beyond the file": (header({"a": TENSOR}, b"1234"), "the data of `a` do not lie where"),
    "offsets before the data": (header({"a": {**TENSOR, "data_offsets": [-8, 0]}}), "no list of sizes"),
    "offsets overlap": (header({"a": TENSOR, "b": TENSOR}), "the data of `b` do not lie where"),
    "data behind the end": (header({"a": TENSOR}, b"123456789"), "its header describes"),
    "shape overflows": (header({"a": {**TENSOR, "shape": [2**62, 2**62]}}), "another size than its shape"),
    "shape is no number": (header({"a": {**TENSOR, "shape": [True, 2]}}), "no list of sizes"),
    "dtype is unknown": (header({"a": {**TENSOR, "dtype": "O"}}), "a tensor is of dtype 'O'"),
    "cut": (cut, r"do not lie where|its header describes"),
    "index out of the folder": (index("../outside.safetensors"), r"names the file `\.\./outside\.safetensors`"),
    "index to an absolute path": (index("/etc/passwd"), "names the file `/etc/passwd`"),
    "index with a backslash": (index("..\\outside"), "which is no file in the folder"),
    "index with an escape": (index("\x1b[31mred"), r"names the file `\\x1b\[31mred`"),
    "index to the folder": (index(".."), r"names the file `\.\.`"),
    "index to nothing": (index("none.safetensors"), "its `none.safetensors` is no file"),
    "index is empty": (bare_index(b"{}"), "has no `weight_map`"),
    "index of numbers": (bare_index(b'{"weight_map": {"a": 1}}'), "has no `weight_map`"),
    "a tensor in two files": (twice, "two of its files hold"),
    "weights are a link": (linked("model.safetensors"), r"is a link to `.*outside`, outside of the folder"),
    "config is a link": (linked("config.json"), r"is a link to `.*outside`, outside of the folder"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_are_one_message(folder: Path, name: str) -> None:
    change, message = HOSTILE[name]
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        HubFolder(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


def test_a_small_file_with_a_huge_tensor_takes_no_memory(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}
    text = json.dumps({"a": entry}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2**30)  # sparse: the sizes agree
    assert HubFolder(folder).weights.entries["a"].shape == (2**28,)
    os.truncate(folder / "model.safetensors", 0)
