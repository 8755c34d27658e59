import shutil

import pytest
import torch

from tests.audit.conftest import drawn
from uddm_lightning.audit.sequences import join, planted_canaries, read_sequences
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.instantiate import build_data
from uddm_lightning.runs.load import load
from uddm_lightning.runs.manifest import read_manifest, write_manifest


@pytest.fixture
def model(trained, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    return load(trained / "run", "last", device="cpu")


def rows_of(sequences):
    return {tuple(row) for row in sequences.tokens_NL.tolist()}


def test_members_and_nonmembers_come_from_the_manifest(model):
    data = build_data(model.config)
    trained_on = {tuple(row) for row in data.training_rows().tolist()}
    own, pool, held_out = (read_sequences(model, part, 5000, "--members") for part in ("train", "pool", "test"))
    assert (len(own), rows_of(own)) == (8, trained_on)
    assert len(own) + len(pool) == len(data.corpus.train)
    assert not set(own.rows_N.tolist()).intersection(pool.rows_N.tolist())
    assert len(held_out) == len(data.corpus.test)
    assert torch.equal(pool.documents_N, data.corpus.train.documents(pool.rows_N))
    few = read_sequences(model, "pool", 3, "--nonmembers")
    assert torch.equal(few.rows_N, pool.rows_N[:3])
    assert bool(own.counted_NL.all())


def test_lines_of_a_file_are_documents(model, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("the people of peace and war\n\nlaw\n", encoding="utf-8")
    found = read_sequences(model, str(path), 10, "--members")
    assert found.name == "lines.txt"
    assert found.rows_N.tolist() == found.documents_N.tolist() == [1, 1, 3]
    assert found.counted_NL.sum(1).tolist() == [16, 11, 3]
    assert read_sequences(model, str(path), 2, "--members").rows_N.tolist() == [1, 1]


def test_documents_are_shared_only_by_parts_of_one_text(model, tmp_path):
    own, pool, held_out = (read_sequences(model, part, 50, "--members") for part in ("train", "pool", "test"))
    together = join(own, pool)
    assert together.member_N.tolist() == [True] * 8 + [False] * (50 - together.duplicates)
    assert set(together.sequences.documents_N[:8].tolist()) == set(own.documents_N.tolist())
    apart = join(own, held_out)
    documents = apart.sequences.documents_N
    assert not set(documents[:8].tolist()).intersection(documents[8:].tolist())


def test_nonmembers_that_equal_a_member_are_left_out():
    members, others = drawn(0, 30), drawn(10, 30)
    found = join(members, others)
    assert (found.duplicates, len(found.sequences), int(found.member_N.sum())) == (20, 40, 30)
    assert found.sequences.rows_N.tolist() == list(range(40))
    with pytest.raises(InputError, match=r"Every sequence of `text` also occurs in `text`"):
        join(members, members)


def test_a_run_on_the_whole_pool_has_no_other_rows(model, trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    manifest = read_manifest(tmp_path / "run")
    size = manifest["splits"]["train"]["rows"]
    write_manifest(tmp_path / "run", {**manifest, "train_size": size})
    moved = model._replace(folder=tmp_path / "run")
    with pytest.raises(InputError, match=r"was trained on the whole pool, so that no row is left. Use `--x test`"):
        read_sequences(moved, "pool", 5, "--x")
    assert len(read_sequences(moved, "train", 10**6, "--x")) == size


def test_what_needs_the_cache_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"`--members train` needs the prepared text of .* not in the cache"):
        read_sequences(model, "train", 5, "--members")
    with pytest.raises(InputError, match=r"`--members a.txt`: the tokenizer of .* was learned from its text"):
        read_sequences(model, "a.txt", 5, "--members")


def test_planted_canaries_are_made_again_or_refused(model, trained, tmp_path):
    assert planted_canaries(model) is None
    data = build_data({**model.config, "data": {**model.config["data"], "canaries": [1, 2]}})
    shutil.copytree(trained / "run", tmp_path / "run")
    manifest = {**read_manifest(trained / "run"), "canaries": data.manifest()["canaries"]}
    write_manifest(tmp_path / "run", manifest)
    found = planted_canaries(model._replace(folder=tmp_path / "run"))
    assert found is not None
    ids = data.training_rows()[8:]
    assert torch.equal(found.tokens(torch.tensor([0, 1, 1])), ids)
    manifest["canaries"]["hash"] = "0" * 32
    write_manifest(tmp_path / "run", manifest)
    with pytest.raises(InputError, match=r"cannot be made again: .* Leave canaries out with `--alternatives 0`"):
        planted_canaries(model._replace(folder=tmp_path / "run"))
