"""A run that was killed, or met a full disk, continues with the same numbers."""

import errno
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs.test_checkpoints import checkpoint_of
from tests.support.command_line import anonymous_table, tiny_config, write_corpus
from tests.support.ranks import ACTS, Job, parts, run
from uddm_lightning.callbacks.figures import pixels, time_figure, write_picture
from uddm_lightning.core.errors import DiskFullError
from uddm_lightning.core.files import write_atomically, write_text
from uddm_lightning.runs import checkpoints

STEPS = 18
PERIOD = 6  # steps between validations
BATCHES = 8  # batches of a validation: two per split

Disk = Callable[[str], Path]


def write_settings(folder: Path, corpus: Path) -> Path:
    path = folder / "restart.yaml"
    settings = tiny_config(corpus, on_the_way=True)
    settings["trainer"] |= {"max_steps": STEPS, "val_check_interval": PERIOD}
    settings["recovery"], settings["entropy"] = {"times": [0.5]}, {"times": [0.5]}
    settings["model"]["sampler"]["init_args"]["steps"] = 4
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path, corpus: Path) -> Path:
    return write_settings(tmp_path, corpus)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing disturbs, which the other runs must equal."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = begin(write_settings(folder, write_corpus(folder / "corpus.txt")), folder / "calm")
    job.arguments += ["--data.cache_dir", str(folder / "cache")]
    run(folder / "logs", [job])
    return folder / "calm"


def begin(settings: Path, out: Path, *event: Any) -> Job:
    return Job(out.name, ["fit", "-c", str(settings), "--out", str(out)], event=list(event))


def resume(out: Path, checkpoint: str = "last") -> Job:
    return Job(f"{out.name}-{checkpoint}", ["fit", "-c", str(out / "config.yaml"), "--ckpt_path", checkpoint])


def losses(out: Path) -> dict[int, float]:
    """Return the last logged loss of every step, as TensorBoard shows it."""
    events = EventAccumulator(str(out), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.value for event in sorted(events.Scalars("loss/train"), key=lambda e: e.wall_time)}


def check_equal(one: Path, other: Path) -> None:
    """Check that loss curve, weights, average, optimizer, learning rate and both tables are equal bit for bit."""
    assert losses(one) == losses(other)
    assert len(losses(one)) == STEPS
    here, there = (torch.load(out / "checkpoints" / "last.ckpt", weights_only=True) for out in (one, other))
    assert here["global_step"] == STEPS
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        mine, theirs = parts(here[name]), parts(there[name])
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            assert torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key], key
    assert any(name.startswith("ema.") for name in here["state_dict"])
    assert anonymous_table(one) == anonymous_table(other)
    assert pq.read_table(one / "sequences.parquet").equals(pq.read_table(other / "sequences.parquet"))
    assert not [path for path in other.rglob(".*") if path.is_file()], "temporary files are left"


def check_message(job: Job, status: int, *needles: str) -> None:
    (out,) = job.out
    assert job.status == [status], out[-1500:]
    assert "Traceback" not in out, out[-3000:]
    message = out[out.index("uddm: stopped: " if status == 1 else "uddm: error: ") :]
    assert len(message.strip().splitlines()) == 1, message
    for needle in needles:
        assert needle in message, message


# Killed.


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_like_an_undisturbed_run(
    tmp_path: Path, settings: Path, undisturbed: Path
) -> None:
    dice = random.Random(0)  # noqa: S311 no secret is made here
    moments = {
        "before-the-first-checkpoint": ("step", dice.randrange(1, PERIOD)),
        "in-training": ("step", dice.randrange(PERIOD, STEPS)),
        "in-a-validation": ("validation", BATCHES + dice.randint(1, BATCHES)),
        "in-the-last-validation": ("validation", STEPS // PERIOD * BATCHES),
        "while-saving": ("saving", 2),
        "while-saving-the-first": ("saving", 1),
    }
    outs = {name: tmp_path / name for name in moments}
    killed = [begin(settings, outs[name], *moment, "kill", "") for name, moment in moments.items()]
    run(tmp_path / "logs", killed, well=False)
    assert [job.status for job in killed] == [[-9]] * len(killed)
    saved = {name for name, out in outs.items() if (out / "checkpoints" / "last.ckpt").exists()}
    assert saved == moments.keys() - {"before-the-first-checkpoint", "while-saving-the-first"}
    run(tmp_path / "more", [resume(out) if name in saved else begin(settings, out) for name, out in outs.items()])
    for out in outs.values():
        check_equal(undisturbed, out)


@pytest.mark.slow
def test_two_ranks_killed_together_resume(tmp_path: Path, settings: Path) -> None:
    ranks = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    jobs = [begin(settings, tmp_path / "calm"), begin(settings, tmp_path / "killed", "step", 15, "kill", "")]
    for job in jobs:
        job.arguments += ranks
        job.world = 2
    run(tmp_path / "logs", jobs, well=False)
    assert [job.status for job in jobs] == [[0, 0], [-9, -9]]
    again = resume(tmp_path / "killed")
    again.world = 2
    run(tmp_path / "logs", [again])
    check_equal(tmp_path / "calm", tmp_path / "killed")


@pytest.mark.slow
def test_an_interrupted_run_prints_how_to_resume_and_resumes(tmp_path: Path, settings: Path, undisturbed: Path) -> None:
    """Test Ctrl-C at each moment, and SIGTERM, which takes the same way, at two; the previous checkpoint remains while
    another one is written.
    """
    moments = {
        "before-the-first-checkpoint": ("step", 2),
        "training": ("step", PERIOD + 2),
        "validating": ("validation", BATCHES + 3),
        "writing": ("within saving", 3),
        "writing-the-first": ("within saving", 1),
    }
    acts = [*((name, "interrupt") for name in moments), ("training", "terminate"), ("writing-the-first", "terminate")]
    outs = {(name, act): tmp_path / f"{name}-{act}" for name, act in acts}
    jobs = [begin(settings, out, *moments[name], act, "") for (name, act), out in outs.items()]
    run(tmp_path / "logs", jobs, well=False)
    again = []
    for ((_, act), out), job in zip(outs.items(), jobs, strict=True):
        last = out / "checkpoints" / "last.ckpt"
        if last.exists():
            assert checkpoints.load(last)["global_step"] % PERIOD == 0
        way_on = f"go on: `uddm fit -c {out / 'config.yaml'} --ckpt_path last`." if last.exists() else "start again."
        (printed,) = job.out
        assert job.status == [1 if act == "interrupt" else 143], printed
        assert printed.splitlines()[-1] == f"uddm: stopped: interrupted; {way_on}"
        assert "Traceback" not in printed
        assert "enforce fail" not in printed
        assert not [path for path in out.rglob(".*") if path.is_file()], "half a file is left"
        again.append(resume(out) if last.exists() else begin(settings, out))
    run(tmp_path / "more", again)
    for out in outs.values():
        check_equal(undisturbed, out)


# The checkpoint before the last one.


@pytest.mark.slow
def test_the_checkpoint_before_the_last_is_kept(uddm, settings, tmp_path) -> None:
    calm, out = tmp_path / "calm", tmp_path / "copy" / "calm"  # results are keyed by the name of their folder
    assert uddm("fit", "-c", settings, "--out", calm).status == 0
    shutil.copytree(calm, out)
    folder = out / "checkpoints"
    last, previous = folder / "last.ckpt", folder / "previous.ckpt"
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    steps = [torch.load(path, weights_only=True)["global_step"] for path in (previous, last)]
    assert steps == [STEPS - PERIOD, STEPS]

    last.write_bytes(last.read_bytes()[:-3000])
    outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 2
    assert f"{last}` cannot be read" in outcome.err
    assert "`--ckpt_path previous`" in outcome.err
    measured = uddm("validate", "-c", out / "config.yaml", "--ckpt_path", "previous")
    assert measured.status == 0, measured.err
    assert anonymous_table(calm) == anonymous_table(out), "measured again, the same"

    good = previous.read_bytes()
    outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "previous")
    assert outcome.status == 0, outcome.err
    check_equal(calm, out)
    assert previous.read_bytes() == good, "a damaged checkpoint takes no good one's place"


@pytest.mark.slow
def test_a_missing_checkpoint_does_not_affect_the_other(uddm, settings, tmp_path) -> None:
    out = tmp_path / "run"
    half = ("--trainer.max_steps", 2 * PERIOD)
    assert uddm("fit", "-c", settings, "--out", out, *half).status == 0
    (out / "checkpoints" / "last.ckpt").unlink()
    outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 2
    assert "There is one for `--ckpt_path previous`" in outcome.err
    outcome = uddm("fit", "-c", settings, "--out", out)
    assert outcome.status == 2
    assert "--ckpt_path previous" in outcome.err, "a run of which one checkpoint is left is not overwritten"
    (out / "checkpoints" / "previous.ckpt").unlink()
    outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "previous")
    assert outcome.status == 2
    assert "start afresh" in outcome.err


@pytest.mark.parametrize("error", [OSError(errno.EIO, "a broken disk"), RuntimeError("a broken program")])
def test_other_errors_are_raised_unchanged(uddm, settings, monkeypatch, error) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("uddm_lightning.callbacks.MeasurementTable.on_validation_end", fail)
    with pytest.raises(type(error), match="a broken"):
        uddm("fit", "-c", settings)


# A full disk; root can mount a small one.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount small file systems."""
    made: list[Path] = []

    def make(name: str, size: str = "8m") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not sys.platform.startswith("linux") or subprocess.run(options, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk, on Linux")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_table(path: Path) -> None:
    noise = pa.table({"noise": torch.rand(20000).numpy()})
    write_atomically(path, lambda temporary: pq.write_table(noise, temporary))


def write_figure(path: Path) -> None:
    write_picture(path, pixels(time_figure([], [], "nothing measured")))


WRITERS: dict[str, Callable[[Path], object]] = {
    "last.ckpt": lambda path: checkpoints.AtomicCheckpointIO().save_checkpoint(checkpoint_of(2), path),
    "measurements.csv": lambda path: write_text(path, "kind,step" * 10000),
    "sequences.parquet": write_table,
    "recovery.png": write_figure,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_survives_a_full_disk(name: str, disk: Disk) -> None:
    path = disk("small", "256k") / name
    WRITERS[name](path)
    before = path.read_bytes()
    ACTS["fill"](str(path.parent))
    with pytest.raises(DiskFullError, match=f"^Cannot write `.*{name}`: .*No space left on device.*unchanged"):
        WRITERS[name](path)
    assert path.read_bytes() == before
    (path.parent / "ballast").unlink()
    assert list(path.parent.iterdir()) == [path], "half a file is left"
    WRITERS[name](path)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path: Path, settings: Path, disk: Disk, undisturbed: Path) -> None:
    moments = {
        "training": ("step", PERIOD + 2),
        "validating": ("validation", BATCHES + 2),
        "before-the-first-checkpoint": ("step", 2),
    }
    disks = {name: disk(name) for name in moments}
    jobs = [begin(settings, disks[name] / "run", *moments[name], "fill", str(disks[name])) for name in moments]
    for job, name in zip(jobs, moments, strict=True):
        job.name = name
    run(tmp_path / "logs", jobs, well=False)
    again = []
    for job, (name, folder) in zip(jobs, disks.items(), strict=True):
        early = name == "before-the-first-checkpoint"
        way_out = "start again" if early else f"uddm fit -c {folder}/run/config.yaml --ckpt_path last"
        check_message(job, 1, "No space left on device", str(folder / "run"), "Free some space", way_out)
        assert not [path for path in (folder / "run").rglob(".*") if path.is_file()], "half a file is left"
        (folder / "ballast").unlink()
        again.append(begin(settings, folder / "run") if early else resume(folder / "run"))
        again[-1].name = name
    run(tmp_path / "more", again)
    for folder in disks.values():
        check_equal(undisturbed, folder / "run")


@pytest.mark.slow
def test_a_process_prints_one_message_only(tmp_path: Path, settings: Path) -> None:
    """TensorBoard's events exceed the size limit of files, in a process that ends normally."""
    command = [sys.executable, "-m", "uddm_lightning", "fit", "-c", str(settings), "--out", str(tmp_path / "run")]
    options = ["--trainer.max_steps", "4000", "--trainer.val_check_interval", "4000"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2**16, 2**16))
    ended = subprocess.run([*command, *options], preexec_fn=limit, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    message = ended.stderr.splitlines()[-1]
    assert message.startswith(f"uddm: stopped: Cannot write to `{tmp_path / 'run'}`: File too large. ")
    assert message.endswith("Free some space, then start again.")


@pytest.mark.slow
def test_two_ranks_on_a_full_disk_print_one_reason(tmp_path: Path, settings: Path, disk: Disk) -> None:
    folder = disk("small")
    job = begin(settings, folder / "run", "saving", 2, "fill", str(folder))
    job.world = 2
    job.arguments += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    # every rank must know the value that a callback monitors
    job.arguments += ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=nelbo/test/[0.02,1]"]
    run(tmp_path / "logs", [job], well=False)
    assert job.status == [1, 1]
    assert "No space left on device" in job.out[0].splitlines()[-1]
    assert job.out[1].endswith("uddm: stopped: another process of this run has ended; its message says why.\n")
    assert "Traceback" not in "".join(job.out)
    assert "sync_dist" not in "".join(job.out)
    (folder / "ballast").unlink()
    again = resume(folder / "run")
    again.world = 2
    run(tmp_path / "logs", [again])
    assert checkpoints.load(folder / "run" / "checkpoints" / "last.ckpt")["global_step"] == STEPS


@pytest.mark.slow
def test_a_full_or_forbidden_cache_gives_one_message(tmp_path: Path, settings: Path, disk: Disk) -> None:
    small = disk("small", "16k")
    forbidden = tmp_path / "forbidden"
    forbidden.mkdir(mode=0o555)
    jobs = [
        begin(settings, tmp_path / "full"),
        begin(settings, tmp_path / "read-only-cache", "start", 0, "give up rights", ""),
        begin(settings, forbidden / "run", "start", 0, "give up rights", ""),
    ]
    for job, cache in zip(jobs, (small, forbidden), strict=False):
        job.arguments += ["--data.cache_dir", str(cache)]
    run(tmp_path / "logs", jobs, well=False)
    check_message(jobs[0], 1, str(small), "No space left on device", "data.cache_dir")
    check_message(jobs[1], 2, str(forbidden), "Permission denied", "data.cache_dir")
    check_message(jobs[2], 2, str(forbidden / "run"), "Permission denied", "--out")
    assert not list(small.glob("*/*")), "no half-made cache takes the space"


@pytest.mark.slow
def test_a_run_in_a_forbidden_folder_gives_one_message(tmp_path: Path, undisturbed: Path) -> None:
    out = shutil.copytree(undisturbed, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    folders = [out, *(path for path in out.rglob("*") if path.is_dir())]
    for path in [*before, *folders]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    jobs = [resume(out), Job("validate", ["validate", "-c", str(out / "config.yaml"), "--ckpt_path", "last"])]
    for job in jobs:
        job.event = ["start", 0, "give up rights", ""]
    run(tmp_path / "logs", jobs, well=False)
    for folder in folders:
        folder.chmod(0o755)
    for job in jobs:
        check_message(job, 2, str(out), "Permission denied", "make this one writable")
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


# The cache, and its text.


@pytest.mark.slow
def test_a_run_continues_if_its_cache_is_deleted(tmp_path: Path, settings: Path, undisturbed: Path) -> None:
    jobs = []
    for workers in (0, 2):
        cache = tmp_path / f"cache{workers}"
        job = begin(settings, tmp_path / f"workers{workers}", "step", 1, "delete", str(cache))
        job.arguments += ["--data.cache_dir", str(cache), "--data.num_workers", str(workers)]
        jobs.append(job)
    run(tmp_path / "logs", jobs)
    for workers in (0, 2):
        assert not (tmp_path / f"cache{workers}").exists()
        check_equal(undisturbed, tmp_path / f"workers{workers}")


@pytest.mark.slow
def test_a_cache_damaged_between_two_sessions_is_rebuilt(uddm, settings, tmp_path) -> None:
    calm, out = tmp_path / "calm", tmp_path / "run"

    def session(run: Path, steps: int) -> None:
        more = ("-c", run / "config.yaml", "--ckpt_path", "last") if run.exists() else ("-c", settings, "--out", run)
        assert uddm("fit", *more, "--trainer.max_steps", steps).status == 0

    for steps in (PERIOD, 2 * PERIOD, STEPS):  # each session ends with its own measurements
        session(calm, steps)
    session(out, PERIOD)
    (rows,) = (tmp_path / "cache").glob("*/train.bin")
    whole = rows.read_bytes()
    shutil.rmtree(tmp_path / "cache")
    session(out, 2 * PERIOD)
    rows.write_bytes(bytes(len(whole)))
    session(out, STEPS)
    assert rows.read_bytes() == whole
    check_equal(calm, out)


@pytest.mark.slow
def test_another_text_is_refused(uddm, settings, tmp_path, corpus) -> None:
    out = tmp_path / "run"
    assert uddm("fit", "-c", settings, "--out", out, "--trainer.max_steps", PERIOD).status == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("peace", "place", 1), encoding="utf-8")
    for command in ("fit", "validate", "test"):
        outcome = uddm(command, "-c", out / "config.yaml", "--ckpt_path", "last")
        assert outcome.status == 2
        message = outcome.err[outcome.err.index("uddm: error: ") :]
        assert f"{out / 'manifest.json'}` was written for another corpus" in message
        hashes = [word for word in message.replace(",", "").replace(".", "").split() if len(word) == 32]
        assert len(set(hashes)) == 2
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
