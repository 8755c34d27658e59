import pytest

from tests.audit.known import separable
from uddm_lightning.audit.calibration import REGIMES, load_calibration
from uddm_lightning.audit.known_models import known_model, read_known_models, write_known_models
from uddm_lightning.runs.run import load_run
from uddm_lightning.sweeps.judged_models import judged_models


@pytest.fixture
def table(tmp_path):
    write_known_models(tmp_path / "models.csv", separable())
    return tmp_path / "models.csv"


def test_a_table_gives_the_models_that_it_was_written_from(table, tmp_path):
    models = read_known_models(table)
    assert {model[:4] for model in models} == {model[:4] for model in separable()}
    first = next(model for model in separable() if model[:5] == models[0][:5])
    assert models[0].evidence.entropy == pytest.approx(first.evidence.entropy, rel=1e-5)
    assert models[0].evidence.curve == pytest.approx(first.evidence.curve, rel=1e-5)
    write_known_models(tmp_path / "again.csv", models)
    assert (tmp_path / "again.csv").read_bytes() == table.read_bytes()


def test_it_fits_and_judges(uddm, table, tmp_path):
    outcome = uddm(
        "calibrate", table, "--judge", table, "--out", tmp_path / "c.json", "--judged_table", tmp_path / "j.csv"
    )
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith(
        "fitted on 6 memorizing, 6 in transition, 6 generalizing, 6 not learned yet; 0 left out"
    )
    assert "verdict right: 1.000" in outcome.out
    assert (tmp_path / "j.csv").read_text(encoding="utf-8") == table.read_text(encoding="utf-8")
    assert load_calibration(tmp_path / "c.json").models == dict.fromkeys(REGIMES, 6)
    again = uddm("calibrate", "--judge", table, "--calibration", tmp_path / "c.json")
    assert again.out == "".join(outcome.out.splitlines(keepends=True)[1:])


def test_checkpoints_of_a_run_are_measured(uddm, textless, monkeypatch, tmp_path):
    monkeypatch.setenv("UDDM_CACHE", str(textless / "cache"))
    run = textless / "run"
    judged = list(judged_models(run))
    assert [one.step for one in judged] == sorted({one.step for one in judged})
    assert judged[-1].checkpoint.name in ("last.ckpt", "previous.ckpt")
    assert judged[-1].test_recovery is not None
    outcome = uddm("calibrate", "--judge", run, "-n", 8, "--judged_table", tmp_path / "j.csv")
    assert outcome.status == (0 if any(one.regime in REGIMES for one in judged) else 2), outcome.err
    models = read_known_models(tmp_path / "j.csv")
    assert [model.step for model in models] == [one.step for one in judged]
    mine = known_model(load_run(run, str(judged[-1].checkpoint)), judged[-1], "run", 8)
    assert models[-1].evidence.entropy == pytest.approx(mine.evidence.entropy, rel=1e-5)
    assert models[-1][:5] == mine[:5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give at least one SWEEP"),
        (["--out", "c.json", "--judge", "TABLE"], "needs at least one SWEEP"),
        (["TABLE", "--calibration", "c.json"], "is judged as it is"),
        (["nowhere"], "`nowhere` is no folder"),
        (["nowhere.txt"], "`nowhere.txt` is no folder. Give the folder of a sweep, or a table"),
        (["TABLE"], "would be lost: give `--out FILE`, or `--judge SWEEP`"),
        (["--judge", "TABLE", "--table", "t.csv"], "`--table t.csv` needs at least one SWEEP"),
        (["TABLE", "--out", "c.json", "--judged_table", "t.csv"], "`--judged_table t.csv` needs `--judge SWEEP`"),
        (["TABLE", "--out", "c.json", "-n", "8"], "`-n 8` is for sweeps; the evidence in a table is already measured"),
        (["TABLE", "--out", "c.json", "--device", "cpu"], "`--device cpu` is for sweeps"),
        (["TABLE", "--out", "c.json", "--table", "c.json"], "`--out` and `--table` both name `c.json`; give two files"),
        (["TABLE", "-n", "1"], "`-n` must be from 2 to"),
        (["nowhere.csv", "--out", "c.json"], "`nowhere.csv` is not a table of models"),
        (["--judge", "TABLE", "--calibration", "nowhere.json"], "`nowhere.json` is not a calibration of this version"),
    ],
)
def test_wrong_arguments_give_one_message(uddm, table, words, message):
    outcome = uddm("calibrate", *(table if word == "TABLE" else word for word in words))
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_table_without_regimes_cannot_be_judged(uddm, tmp_path):
    write_known_models(tmp_path / "m.csv", [one._replace(regime="undetermined") for one in separable()])
    outcome = uddm("calibrate", "--judge", tmp_path / "m.csv")
    assert outcome.status == 2
    assert "none of the 24 judged models has a known regime" in outcome.err
    refused = uddm("calibrate", tmp_path / "m.csv", "--out", tmp_path / "c.json")
    assert refused.status == 2
    assert "at least 3 models of each regime" in refused.err
    assert not (tmp_path / "c.json").exists()
