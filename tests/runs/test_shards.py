"""Files of samples: damaged parts are drawn again, other settings are refused."""

import shutil
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uddm_lightning.runs import shards


def test_other_weights_seeds_and_steps_are_refused_in_the_same_file(sampled, tmp_path, monkeypatch):
    file = tmp_path / "s.parquet"
    sampled(file, 4)
    for option, value, name in (
        ("--seed", 1, "seed"),
        ("--weights", "raw", "weights"),
        ("--steps", 3, "sampler_steps"),
    ):
        message = sampled(file, 4, option, value, status=2)
        assert "holds samples of another setting" in message
        assert f"`{name}` is" in message
        sampled(tmp_path / f"{name}.parquet", 4, option, value)
        tokens = [pq.read_table(path)["tokens"].to_pylist() for path in (file, tmp_path / f"{name}.parquet")]
        assert tokens[0] != tokens[1]
    file.unlink()
    monkeypatch.setattr(shards.Shards, "finish", lambda *_: sys.exit(9))
    sampled(file, 4, status=9)  # stopped before the end
    message = sampled(file, 4, "--seed", 1, status=2)
    assert "s.parquet.parts/setting.json` holds samples of another setting: `seed` is 0 there and 1 here" in message


def begun(sampled, file, monkeypatch):
    """All shards of 20 samples, before they are merged."""
    with monkeypatch.context() as patch:
        patch.setattr(shards.Shards, "finish", lambda *_: sys.exit(9))
        sampled(file, 20, status=9)
    parts = sorted(file.with_name("s.parquet.parts").glob("*.parquet"))
    assert len(parts) == 3
    return parts


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "another": lambda path: shutil.copy(path.with_name("000000.parquet"), path),
    "foreign": lambda path: pq.write_table(pa.table({"x": [1]}), path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_drawn_again(sampled, tmp_path, monkeypatch, damage):
    sampled(tmp_path / "whole.parquet", 20)
    parts = begun(sampled, tmp_path / "s.parquet", monkeypatch)
    damage(parts[1])
    sampled(tmp_path / "s.parquet", 20)
    assert (tmp_path / "s.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_shard_that_is_damaged_during_the_merge_is_drawn_again(sampled, tmp_path, monkeypatch):
    sampled(tmp_path / "whole.parquet", 20)
    real, damaged = shards.Shards.finish, []

    def finish(self, *rest):
        if not damaged:
            damaged.append(self._path(1))
            flip(self._path(1))
        return real(self, *rest)

    monkeypatch.setattr(shards.Shards, "finish", finish)
    sampled(tmp_path / "s.parquet", 20)
    assert damaged
    assert (tmp_path / "s.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_file_of_another_kind_is_not_overwritten(sampled, tmp_path, content):
    (tmp_path / "s.parquet").write_bytes(content)
    assert "is no file of samples" in sampled(tmp_path / "s.parquet", 4, status=2)
    assert (tmp_path / "s.parquet").read_bytes() == content


def test_unreadable_settings_are_refused(sampled, tmp_path):
    (tmp_path / "s.parquet.parts").mkdir()
    (tmp_path / "s.parquet.parts" / "setting.json").write_text("{", encoding="utf-8")
    assert "holds samples of another setting" in sampled(tmp_path / "s.parquet", 4, status=2)
