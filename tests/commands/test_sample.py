"""`uddm sample` writes the same file for any number of processes and batches, and after interruptions."""

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from uddm_lightning.cli.main import main
from uddm_lightning.core.errors import InputError
from uddm_lightning.metrics import functional as F
from uddm_lightning.runs import load as loading
from uddm_lightning.runs import sampling, shards
from uddm_lightning.runs.instantiate import build_data
from uddm_lightning.runs.manifest import read_run_name
from uddm_lightning.runs.run import Run
from uddm_lightning.runs.sampling import SamplingJob

SMALL = 8  # rows of a shard in this process


@cache
def loaded(*arguments):
    """Load the model once, because loading takes longer than sampling."""
    return loading.load(*arguments)


@pytest.fixture
def run(textless, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(textless / "cache"))
    monkeypatch.setattr("uddm_lightning.runs.run.load", loaded)
    monkeypatch.setattr(sampling, "ROWS", SMALL)
    monkeypatch.setattr(shards, "ROWS", SMALL)
    monkeypatch.setattr("uddm_lightning.runs.sample_summary.ROWS", SMALL)
    return textless / "run"


def arguments(run, file, count, *more):
    return ["sample", run, "-n", count, "--out", file, *more]


@pytest.fixture
def sampled(uddm, run):
    def sample(file, count, *more, status=0):
        outcome = uddm(*arguments(run, file, count, *more))
        assert outcome.status == status, outcome.err
        return outcome.out if status == 0 else outcome.err

    return sample


def test_samples_equal_those_of_the_probe_and_the_file_describes_them(sampled, run, tmp_path):
    out = sampled(tmp_path / "s.parquet", 20)
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.schema.remove_metadata() == shards.FILE
    assert table["sample"].to_pylist() == list(range(20))
    texts = table["text"].to_pylist()
    assert [line for line in out.splitlines() if line[:6] in ("   0: ", "   1: ", "   2: ", "   3: ")] == [
        f"   {number}: {texts[number]}" for number in range(3)
    ]

    config = yaml.safe_load((run / "config.yaml").read_text())
    data = build_data(config)
    data.source.paths = str(run / "gone")  # not asked for
    model = loaded(run / "config.yaml", "last", None, None)
    monkeyed = model.corpus()
    data.__dict__["corpus"] = monkeyed
    [batch, _] = iter(data.val_dataloader()[2])
    denoiser = model.task.denoiser("ema")
    drawn_BL = model.task.sampler(denoiser, batch.tokens_BL, 1.0, batch.keys_B)
    tokens = table["tokens"].to_pylist()
    assert drawn_BL.tolist() == tokens[:8]
    assert table["text"].to_pylist() == [monkeyed.tokenizer.decode(row) for row in tokens]

    t_min = model.task.objective.t_min
    t_B = torch.full((20,), t_min, dtype=torch.float64)
    (entropy_BL,) = denoiser(lambda logits, x: (F.entropy(logits),), torch.tensor(tokens), t_B, None)
    np.testing.assert_allclose(np.array(table["entropy"].to_pylist()), entropy_BL.numpy(), rtol=1e-6)
    for row, found in zip(tokens, table["unigram_entropy"].to_pylist(), strict=True):
        assert found == pytest.approx(-sum(n / 16 * math.log(n / 16) for n in Counter(row).values()))

    said = json.loads(pq.read_schema(tmp_path / "s.parquet").metadata[b"uddm"])
    name = read_run_name(run)
    expected = {
        "run": name,
        "step": 6,
        "weights": "ema",
        "sampler": "ancestral",
        "sampler_steps": 10,
        "seed": 0,
        "samples": 20,
    }
    assert expected.items() <= said.items()
    assert said["checkpoint"] == model.digest
    assert set(said["versions"]) == {"python", "torch", "uddm_lightning"}
    assert f"entropy at t = 0.02: {float(entropy_BL.mean()):.3f} nats per token" in out
    assert f"unigram entropy: {np.mean(table['unigram_entropy'].to_pylist()):.3f} nats" in out
    assert not (tmp_path / "s.parquet.parts").exists()


@pytest.mark.parametrize("batch_size", [1, 5, 8])
def test_the_file_does_not_depend_on_the_batch_size(sampled, tmp_path, batch_size):
    sampled(tmp_path / "one.parquet", 19)
    sampled(tmp_path / "other.parquet", 19, "--batch_size", batch_size)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_more_samples_continue_the_existing_ones_and_fewer_are_read(sampled, tmp_path, monkeypatch):
    sampled(tmp_path / "whole.parquet", 21)
    sampled(tmp_path / "grown.parquet", 12)
    asked = []
    real = Run.sample_ids

    def watched(self, numbers_B, seed):
        asked.extend(numbers_B.tolist())
        return real(self, numbers_B, seed)

    monkeypatch.setattr(Run, "sample_ids", watched)
    sampled(tmp_path / "grown.parquet", 21)
    assert asked == list(range(12, 21))
    assert (tmp_path / "grown.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    out = sampled(tmp_path / "grown.parquet", 5)
    assert asked == list(range(12, 21))
    assert out.startswith("5 samples in")


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


def test_a_checkpoint_and_a_config_are_sufficient(sampled, run, tmp_path, monkeypatch):
    """The file does not depend on the text, except for the column of text."""
    sampled(tmp_path / "with.parquet", 9)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    sampled(tmp_path / "without.parquet", 9)
    there, bare = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("with", "without"))
    assert bare["text"].to_pylist() == [None] * 9
    assert there.drop_columns("text").equals(bare.drop_columns("text"))
    assert not (tmp_path / "empty").exists()
    assert "is not in the cache" in sampled(tmp_path / "without.parquet", 9, "--against", status=2)


def test_samples_are_compared_with_the_training_rows(sampled, run, tmp_path):
    out = sampled(tmp_path / "s.parquet", 20, "--against")
    model = loaded(run / "config.yaml", "last", None, None)
    corpus = model.corpus()
    manifest = json.loads((run / "manifest.json").read_text())
    subset = drawing_subset(corpus, manifest)
    tokens = pq.read_table(tmp_path / "s.parquet")["tokens"].to_pylist()
    least = [min(sum(a != b for a, b in zip(row, other, strict=True)) for other in subset) for row in tokens]
    assert "against 8 training rows: 0 memorized" in out
    assert f"nearest training row: {np.mean(least) / 16:.3f} of positions differ" in out
    assert "generative perplexity under the 5-gram critic" in out


def drawing_subset(corpus, manifest):
    from uddm_lightning.data.subset import Subset

    subset = Subset(len(corpus.train), manifest["train_size"], manifest["seed"], corpus.hash)
    return corpus.train.tokens(subset.rows(torch.arange(len(subset)))).tolist()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("-n", "0", "`-n` must be from 1 to"),
        ("--steps", "0", "`--steps` must be from 1 to"),
        ("--batch_size", "0", "`--batch_size` must be from 1 to"),
        ("--processes", "0", "`--processes` must be from 1 to"),
        ("--seed", "-1", "`--seed` must be from 0 to"),
        ("--device", "nonsense", "`--device nonsense` cannot be used"),
        ("--ckpt_path", "nowhere.ckpt", "`--ckpt_path nowhere.ckpt`: there is no such file"),
        ("--weights", "both", "invalid choice: 'both'"),
        ("--out", "s.csv", "`--out s.csv`: samples are written to a parquet file, such as `s.parquet`."),
    ],
)
def test_invalid_arguments_give_one_message(uddm, run, tmp_path, option, value, message):
    outcome = uddm(*arguments(run, tmp_path / "s.parquet", 4), option, value)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def changed(run, tmp_path, change):
    """Return a changed config of the run beside a link to its checkpoint."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("model"), "has no section `model`"),
        (lambda config: config["data"].pop("packing"), "has no section `data.packing`"),
        (lambda config: config["model"].update(backbone={"class_path": "UnigramBackbone"}), "has no weights to load"),
        (lambda config: config["model"]["backbone"]["init_args"].update(hidden_size=32), "holds another network"),
        (lambda config: config["model"]["sampler"]["init_args"].update(steps=-1), "steps"),
    ],
)
def test_a_config_that_does_not_fit_is_named(run, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        loading.load(changed(run, tmp_path, change), str(run / "checkpoints" / "last.ckpt"))


def test_a_config_that_cannot_be_read_is_named(run, tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.yaml` cannot be read as a config"):
        loading.load(tmp_path / "broken.yaml", str(run / "checkpoints" / "last.ckpt"))


def test_a_changed_text_is_refused(run, tmp_path):
    model = loaded(run / "config.yaml", "last", None, None)
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert model._replace(folder=copy).corpus() is None
    (copy / "manifest.json").write_text(json.dumps({**manifest, "corpus": "0" * 32}), encoding="utf-8")
    assert model._replace(folder=copy).corpus() is None
    (copy / "manifest.json").write_text(json.dumps({**manifest, "tokenizer_spec": {"class_path": "no.where"}}))
    assert model._replace(folder=copy).corpus() is None


def test_a_shard_of_another_process_is_waited_for(run, tmp_path, monkeypatch):
    order = SamplingJob(run / "config.yaml", "last", None, None, "ema", 0, 4, tmp_path / "s.parquet", 20)
    drawing = order.load()
    mine = order.shards(drawing)
    drawn, waits = [], []
    held = mine.lock(1)
    held.acquire()

    def wait(seconds):
        waits.append(seconds)
        held.release()

    monkeypatch.setattr(sampling.time, "sleep", wait)
    sampling.fill_shards(order, drawing, drawn.append)
    assert sum(drawn) == 20
    assert len(waits) == 1


# ------------------------------------------------------------------------------------------------ with real processes

COUNT = 700  # three shards


def command(words, environment):
    os.environ.update(environment)
    sys.exit(main(words))


def start(textless, file, *more):
    """Start the command in a process forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uddm_lightning.cli", "uddm_lightning.commands.sample"])
    words = [str(word) for word in arguments(textless / "run", file, COUNT, *more)]
    process = context.Process(target=command, args=(words, {"UDDM_CACHE": str(textless / "cache")}))
    process.start()
    return process


def finish(process):
    process.join(300)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def reference(textless, tmp_path_factory):
    """The samples of one process without interruption."""
    file = tmp_path_factory.mktemp("reference") / "s.parquet"
    finish(start(textless, file))
    return file.read_bytes()


@pytest.mark.slow
def test_several_processes_and_several_commands_write_the_same_file(textless, reference, tmp_path):
    for process in [start(textless, tmp_path / "s.parquet", "--processes", 2), start(textless, tmp_path / "s.parquet")]:
        finish(process)
    assert (tmp_path / "s.parquet").read_bytes() == reference
    assert list(tmp_path.iterdir()) == [tmp_path / "s.parquet"]


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_file(textless, reference, tmp_path):
    file, parts = tmp_path / "s.parquet", tmp_path / "s.parquet.parts"
    for moment, sight in enumerate(("*.lock", "000000.parquet", "000001.parquet")):
        process = start(textless, file, "--batch_size", 4 + moment)
        deadline = time.monotonic() + 120
        while process.is_alive() and not list(parts.glob(sight)):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not file.exists()
    finish(start(textless, file, "--processes", 3))
    assert file.read_bytes() == reference
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_workers_end_with_the_command_that_started_them(textless, tmp_path):
    parts = tmp_path / "s.parquet.parts"
    process = start(textless, tmp_path / "s.parquet", "--processes", 2, "--batch_size", 1)
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.lock"))) < 2:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.005)
    [server] = [child for child in children(process.pid) if children(child)]
    workers = children(server)
    assert len(workers) == 2
    process.kill()
    process.join()
    deadline = time.monotonic() + 60
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives the command"
        time.sleep(0.05)


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_a_worker_that_fails_is_reported(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("uddm_lightning.runs.sampling.fill_in_processes", lambda *_: False)
    message = sampled(tmp_path / "s.parquet", 4, "--processes", 2, status=1)
    assert "The same command continues from here" in message
