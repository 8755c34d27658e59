"""Session of a run: which folder a command reads and writes, and which values it refuses."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace

from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.folder import is_locked
from uddm_lightning.runs.session import RunSession, output_folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def session(
    command: str,
    run: Path,
    locks: ExitStack | None = None,
    out: Path | None = None,
    ckpt: str | None = "last",
    **trainer: Any,
) -> RunSession:
    """Return the session of a command on a run, with other values of the section `trainer`."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["trainer"].update(trainer)
    given = Namespace(
        config=[str(run / "config.yaml")],
        out=str(out or run),
        ckpt_path=ckpt,
        trainer=Namespace(fast_dev_run=False),
    )
    return RunSession(command, given, lambda: yaml.safe_dump(config), locks or ExitStack())


def test_a_checkpoint_belongs_to_its_run(run: Path, tmp_path: Path) -> None:
    resumed = session("fit", run)
    assert (resumed.folder, resumed.home, resumed.step, resumed.changes) == (run, run, 6, [])
    assert resumed.is_training
    assert resumed.is_resuming
    continued = session("fit", run, out=tmp_path / "new", ckpt=str(run / "checkpoints" / "last.ckpt"))
    assert (continued.folder, continued.home, continued.is_resuming) == (tmp_path / "new", run, False)
    assert session("validate", run).checkpoint == run / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_measured_checkpoint_has_no_other_folder(run: Path, tmp_path: Path, command: str) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    with pytest.raises(InputError, match=r"`--out .*new`: `uddm \w+` writes the numbers of a checkpoint into its run"):
        session(command, run, out=tmp_path / "new", ckpt=checkpoint).check_output()
    session(command, run, ckpt=checkpoint).check_output()
    for other in ("fit", "predict"):
        session(other, run, out=tmp_path / "new", ckpt=checkpoint).check_output()


def test_a_changed_value_is_recorded_or_refused(run: Path) -> None:
    assert [change.key for change in session("fit", run, max_steps=12).changes] == ["trainer.max_steps"]
    with pytest.raises(InputError, match=r"`trainer.max_steps` is 3, .* has trained 6 steps already"):
        session("fit", run, max_steps=3)
    with pytest.raises(InputError, match=r"is another one: `trainer.gradient_clip_val` is .* start a new run"):
        session("fit", run, gradient_clip_val=0.25)


def test_only_a_resumed_run_may_use_its_folder(run: Path, tmp_path: Path) -> None:
    with ExitStack() as locks:
        session("fit", run, locks).lock()
        assert is_locked(run)
    assert not is_locked(run)
    with ExitStack() as locks, pytest.raises(InputError, match=r"already holds a run\. Go on with it"):
        session("fit", run, locks, ckpt=None).lock()


def test_the_hint_continues_the_command(run: Path) -> None:
    assert session("fit", run).hint == f"go on: `uddm fit -c {run / 'config.yaml'} --ckpt_path last`."
    assert session("validate", run).hint == "give the same command again."


def test_the_output_folder_is_given_or_named(run: Path) -> None:
    config = Namespace(config=["x/small.yaml"], out=None, data=Namespace(train_size=8), seed_everything=1)
    assert output_folder(config, []) == str(Path("runs") / "small-n8-s1")
    config.out = "given"
    assert output_folder(config, ["--out", "given"]) == "given"
    config.config = [str(run / "config.yaml")]
    assert output_folder(config, []) == str(run)
    config.out = "samples.parquet"
    with pytest.raises(InputError, match="names a file; give a folder"):
        output_folder(config, ["--out=samples.parquet"])
