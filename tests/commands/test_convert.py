"""`uddm convert`: a foreign checkpoint becomes a run that is measured like any other."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import yaml
from tokenizers import models

from tests.interop.test_hub_folder import HOSTILE
from tests.support.command_line import Outcome
from tests.support.foreign import SETTINGS, logits, merged, save_foreign, task_of
from tests.support.hub import CONFIG, OF_GIDD, hub_folder
from tests.support.toy_worlds import reference
from uddm_lightning.backbones import DiT
from uddm_lightning.results.tables import read_table

Run = Callable[..., Outcome]
UNKNOWN = "[UNK]"


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_the_reference_checkpoint_gives_the_reference_logits(uddm: Run, tmp_path: Path, weights: str) -> None:
    given, expected = reference("duo_layout.ckpt"), np.load(reference("duo_layout_logits.npz"))
    outcome = uddm("convert", given, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    task = task_of(tmp_path / "run")
    network = task.backbone if weights == "raw" else task.ema.backbone
    found = logits(network, torch.from_numpy(expected["x"]), torch.from_numpy(expected["sigma"]))
    assert torch.allclose(found, torch.from_numpy(expected[f"logits_{weights}"]), rtol=0.0, atol=1e-4)


def test_a_converted_run_is_the_foreign_model(
    uddm: Run, foreign: Path, text: Path, tmp_path: Path, raw: DiT, averaged: DiT
) -> None:
    run = tmp_path / "run"
    outcome = uddm("convert", foreign, "--out", run, "-c", text, "--name", "theirs", "--size", 8)
    assert outcome.status == 0, outcome.err
    assert "step 1,234, averaged weights with decay 0.999" in outcome.out
    assert f"uddm validate -c {run / 'config.yaml'} --ckpt_path last" in outcome.out
    task = task_of(run)
    tokens_BL, sigma_B = torch.randint(21, (3, 16)), torch.tensor([1e-5, 0.3, 6.0])
    assert torch.equal(logits(task.backbone, tokens_BL, sigma_B), logits(raw, tokens_BL, sigma_B))
    assert torch.equal(logits(task.ema.backbone, tokens_BL, sigma_B), logits(averaged, tokens_BL, sigma_B))
    assert task.backbone_name == "theirs"

    parts = yaml.safe_load(text.read_text())
    (tmp_path / "part.yaml").write_text(yaml.safe_dump(parts["data"]))
    text.write_text(yaml.safe_dump({**parts, "data": "part.yaml"}))  # a section in a separate file
    assert (
        uddm("convert", foreign, "--out", tmp_path / "again", "-c", text, "--name", "theirs", "--size", 8).status == 0
    )
    ours, again = (yaml.safe_load((path / "config.yaml").read_text()) for path in (run, tmp_path / "again"))
    assert again["data"] == ours["data"]

    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["converted"]["file"] == "foreign.ckpt"
    assert len(manifest["converted"]["sha256"]) == 64
    assert manifest["converted"]["training_facts"]["data.train"] == "lm1b"
    assert "corpus" not in manifest  # the training rows are not known
    assert (run / "config.yaml").read_text().startswith("# lightning.pytorch==")


@pytest.mark.slow
def test_it_is_measured_on_any_text_but_on_one_only(uddm: Run, foreign: Path, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert uddm("convert", foreign, "--out", run, "-c", text, "--size", 8).status == 0
    validate = ("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    outcome = uddm(*validate)
    assert outcome.status == 0, outcome.err
    assert "converted from foreign.ckpt: whether it was trained on these rows is not known" in outcome.out
    rows = read_table(run / "measurements.csv")
    assert {(row["backbone"], row["train_size"], row["seed"], row["step"]) for row in rows} == {
        ("toy", "8", "3", "1234")
    }
    assert {row["weights"] for row in rows if row["metric"] == "recovery"} == {"ema", "raw"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["converted"]["file"] == "foreign.ckpt"
    assert manifest["corpus"]

    before = (run / "measurements.csv").read_bytes()
    assert uddm(*validate).status == 0
    assert (run / "measurements.csv").read_bytes() == before
    outcome = uddm(*validate, "--data.train_size", 4)
    assert outcome.status == 2
    assert "was written for another subset (8 rows of seed 3 there and 4 rows of seed 3 now)" in outcome.err
    assert "convert it once more into another folder with another `--out`" in outcome.err

    outcome = uddm("fit", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 2
    assert "holds no `loops`" in outcome.err


def test_a_failed_measurement_does_not_fix_the_text(uddm: Run, foreign: Path, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert uddm("convert", foreign, "--out", run, "-c", text).status == 0
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", "--data.tokenizer.alphabet", "abc")
    assert outcome.status == 2
    assert "has a vocabulary of 21 ids, the configured data one of 3" in outcome.err
    assert "corpus" not in json.loads((run / "manifest.json").read_text())


def test_a_run_is_never_overwritten(uddm: Run, foreign: Path, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert uddm("convert", foreign, "--out", run, "-c", text).status == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = uddm("convert", foreign, "--out", run, "-c", text)
    assert outcome.status == 2
    assert "already holds a run" in outcome.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_saved_tokenizer_is_converted_with_the_run(uddm: Run, tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    names = [UNKNOWN, "[CLS]", "[SEP]", "[PAD]", *"abcdefghijklmnopq"]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS, tokenizer=tokenizer)
    outcome = uddm("convert", path, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    kept = Path(config["data"]["tokenizer"]["init_args"]["path"])
    assert kept == tmp_path / "run" / "tokenizer.json"
    assert tokenizers.Tokenizer.from_file(str(kept)).get_vocab() == vocabulary

    vocabulary["too many"] = 21
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    path = save_foreign(tmp_path / "y.ckpt", raw, averaged, SETTINGS, tokenizer=tokenizer)
    outcome = uddm("convert", path, "--out", tmp_path / "other")
    assert outcome.status == 2
    assert "its tokenizer has 22 ids, its network 21" in outcome.err


def test_a_damaged_tokenizer_is_refused(
    uddm: Run, tmp_path: Path, raw: DiT, averaged: DiT, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS, tokenizer=tokenizer)
    monkeypatch.setattr("uddm_lightning.interop.duo._tokenizer", lambda _: "{")
    outcome = uddm("convert", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert "its tokenizer is damaged" in outcome.err


def wrong(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def test_wrong_input_is_one_message(
    uddm: Run, foreign: Path, text: Path, tmp_path: Path, raw: DiT, averaged: DiT
) -> None:
    longer = wrong(tmp_path, "longer.yaml", "data: {packing: {class_path: WrappedPacking, init_args: {length: 17}}}")
    wider = wrong(
        tmp_path, "wider.yaml", "model: {backbone: {class_path: DiT, init_args: {hidden_size: 32, n_heads: 2}}}"
    )
    unknown = save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, "data.train", "diaries"))
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(foreign.read_bytes()[:-100])
    for arguments, message in (
        ([], "the following arguments are required"),
        ([tmp_path / "none.ckpt"], "there is no such file"),
        ([foreign, "-c", tmp_path / "none.yaml"], "no such file, and no shipped config"),
        ([foreign, "-c", wrong(tmp_path, "broken.yaml", "a: [")], "is not valid YAML"),
        ([foreign, "-c", wrong(tmp_path, "odd.yaml", "dato: 3")], "dato"),
        ([foreign, "-c", text, "-c", longer], "`data.packing.length` is 17, and"),
        ([foreign, "-c", text, "-c", wider], "describes another network in `model.backbone`"),
        ([foreign, "-c", text, "--seed", "x"], "seed_everything"),
        ([foreign, "-c", text, "--nonsense"], "unrecognized arguments: --nonsense"),
        ([unknown], "no source of that text is known"),
        ([wrong(tmp_path, "text.ckpt", "hello")], "cannot be converted: it is no zip archive"),
        ([cut], "cannot be converted: it is no zip archive"),
    ):
        outcome = uddm("convert", *arguments, "--out", tmp_path / "run")
        assert outcome.status == 2, arguments
        assert message in outcome.err
        assert "Traceback" not in outcome.err
        assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_a_folder_of_the_hub_is_measured_like_any_other(uddm: Run, tmp_path: Path, text: Path, averaged: DiT) -> None:
    folder, run = hub_folder(tmp_path / "theirs", averaged), tmp_path / "run"
    outcome = uddm("convert", folder, "--out", run, "-c", text, "--size", 8)
    assert outcome.status == 0, outcome.err
    assert "theirs: Hugging Face hub, UDLM" in outcome.out
    assert "one set of weights, as published; it stands for the averaged and for the raw ones" in outcome.out
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["converted"]["layout"] == "Hugging Face hub, UDLM"
    assert manifest["converted"]["assumed"] == ["noise.eps", "training.sampling_eps"]
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert {row["weights"] for row in read_table(run / "measurements.csv")} == {"ema", "raw"}
    outcome = uddm("probe", run, "-n", 4, "--times", "0.5")
    assert outcome.status == 0, outcome.err
    outcome = uddm("sample", run, "-n", 4, "--out", tmp_path / "s.parquet")
    assert outcome.status == 0, outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mdlm", "dit"])
def test_masked_and_hybrid_models_without_a_text(uddm: Run, tmp_path: Path, averaged: DiT, kind: str) -> None:
    given = {**CONFIG, "model_type": "mdlm", "time_conditioning": False} if kind == "mdlm" else OF_GIDD
    folder = hub_folder(tmp_path / "theirs", averaged, given, "backbone." if kind == "mdlm" else "")
    run = tmp_path / "run"
    outcome = uddm("convert", folder, "--out", run)
    assert outcome.status == 0, outcome.err
    assert "the mask token is id 20, the last one, because no tokenizer names another" in outcome.out
    assert "`uddm probe` and `uddm sample` need none; for `uddm validate` give `--data.source`" in outcome.out
    outcome = uddm("probe", run, "-n", 4, "--times", "0.5", "--steps", 5)
    assert outcome.status == 0, outcome.err
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 2
    assert "Traceback" not in outcome.err


def test_a_revision_needs_a_name(uddm: Run, tmp_path: Path, foreign: Path) -> None:
    outcome = uddm("convert", foreign, "--out", tmp_path / "run", "--revision", "main")
    assert outcome.status == 2
    assert "`--revision main` is for OWNER/NAME on the hub" in outcome.err


# Python itself reports what is imported, unpickled or started.
ALONE = """
import sys
import torchmetrics # imports transformers where it is installed
before = set(sys.modules)
watched = ("import", "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
seen = []
sys.addaudithook(lambda event, about: seen.append((event, str(about[0]))) if event in watched else None)
from uddm_lightning.cli.main import main
from uddm_lightning.commands import convert
for number, folder in enumerate(sys.argv[1:]):
    seen.clear()
    status = main(["convert", folder, "--out", f"alone{number}"])
    named = [name for event, name in seen if event != "import" or name.split(".")[0] in ("omegaconf", "transformers")]
    print(status, named, [name for name in ("omegaconf", "transformers") if name in set(sys.modules) - before])
"""


@pytest.mark.slow
def test_no_module_named_by_the_file_is_imported(foreign: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(foreign)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 [] []"


@pytest.mark.slow
def test_nothing_in_a_folder_is_run(tmp_path: Path, averaged: DiT) -> None:
    names = ("as it is", "pickles", "index out of the folder", "header is huge")
    folders = [hub_folder(tmp_path / name, averaged) for name in names]
    for name, folder in zip(names[1:], folders[1:], strict=True):
        HOSTILE[name][0](folder)
    code = ALONE.replace('"omegaconf", "transformers"', '"omegaconf", "transformers", "hostile"')
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, folders)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ends = [line for line in done.stdout.splitlines() if line.endswith(" [] []")]
    assert ends == ["0 [] []", *["2 [] []"] * 3], done.stdout + done.stderr
    assert not list(tmp_path.rglob("ran"))


def test_help_is_printed(uddm: Run) -> None:
    for command in ("convert", "export"):
        outcome = uddm(command, "--help")
        assert outcome.status == 0
        assert f"usage: uddm {command}" in outcome.out
        assert f"uddm {command}" in uddm("--help").out


def test_a_run_needs_no_conversion(uddm: Run, tmp_path: Path) -> None:
    for place in ("run", "sweep/runs/DiT-n4-s0"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.yaml").touch()
    for name in ("run", "sweep"):
        outcome = uddm("convert", tmp_path / name, "--out", tmp_path / "out")
        assert outcome.status == 2
        assert f"`{tmp_path / name}` is a run or a sweep of this package already" in outcome.err
    assert not (tmp_path / "out").exists()
