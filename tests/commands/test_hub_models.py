"""`uddm probe`, `audit`, `sample` and `validate` on folders in the layout of the hub."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.interop.conftest import network
from tests.interop.test_gidd import save_gidd
from tests.support.hub import HOSTILE, hub_folder
from tests.support.pretrained import LENGTH, save_block_diffusion, save_masked_lm

FEW = ("--steps", 4, "--device", "cpu")
PROBE = ("-n", 4, "--times", "0.2,0.5", *FEW)


@pytest.fixture(params=["udlm", "masked", "block"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / request.param
    if request.param == "udlm":
        return hub_folder(folder, network(1))
    (save_masked_lm if request.param == "masked" else save_block_diffusion)(folder)
    return folder


def test_a_folder_is_probed_and_drawn_from_without_a_conversion(uddm: Any, model: Path, tmp_path: Path) -> None:
    outcome = uddm("probe", model, *PROBE)
    assert outcome.status == 0, outcome.err
    assert "4 own samples" in outcome.out
    file = tmp_path / "s.parquet"
    outcome = uddm("sample", model, "-n", 3, "--out", file, *FEW)
    assert outcome.status == 0, outcome.err
    table = pq.read_table(file)
    assert table["sample"].to_pylist() == [0, 1, 2]
    assert (table["text"].to_pylist() == [None] * 3) is (model.name == "udlm")  # the only one without a tokenizer
    again = uddm("sample", model, "-n", 4, "--out", file, *FEW)
    assert again.status == 0, again.err
    assert pq.read_table(file)["tokens"].to_pylist()[:3] == table["tokens"].to_pylist()


@pytest.mark.parametrize("save", [save_masked_lm, save_block_diffusion])
def test_a_model_of_transformers_is_audited_on_files(uddm: Any, save: Any, tmp_path: Path) -> None:
    save(tmp_path / "model")
    for name, words in (("in", "abcdefgh"), ("out", "klmnopqr")):
        (tmp_path / f"{name}.txt").write_text("\n".join(words[i:] + words[:i] for i in range(6)) + "\n")
    files = ("--members", tmp_path / "in.txt", "--nonmembers", tmp_path / "out.txt")
    words = ("--draws", 1, "--extraction_rows", 0, "--scores", "loss,entropy,entropy_leave_one_out", *FEW)
    outcome = uddm("audit", tmp_path / "model", *files, *words, "--json", tmp_path / "audit.json")
    assert outcome.status == 0, outcome.err
    assert len(json.loads((tmp_path / "audit.json").read_text())["sequences"]) == 12
    refused = uddm("audit", tmp_path / "model", "--nonmembers", tmp_path / "out.txt", *words)
    assert refused.status == 2
    assert "`--members train`: the rows that" in refused.err
    assert "was trained on are not known here. Give files of text" in refused.err


def test_what_a_kind_of_model_cannot_do(uddm: Any, tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    outcome = uddm("sample", tmp_path / "bert", "-n", 2, "--out", tmp_path / "s.parquet", "--processes", 2, *FEW)
    assert (outcome.status, outcome.out) == (2, "")
    assert "is drawn from in one process only" in outcome.err
    outcome = uddm("convert", tmp_path / "bert", "--out", tmp_path / "run")
    assert outcome.status == 2
    assert "`transformers` has its network, which is measured as it is stored" in outcome.err
    outcome = uddm("probe", hub_folder(tmp_path / "udlm", network(1)), "--length", LENGTH, *PROBE)
    assert outcome.status == 2
    assert "`--length` is for models of `transformers`" in outcome.err


def test_a_model_is_validated_by_its_name(uddm: Any, foreign: Path, text: Path, tmp_path: Path) -> None:
    outcome = uddm("validate", foreign, "--out", tmp_path / "run", "-c", text, "--recovery.enabled", "false")
    assert outcome.status == 0, outcome.err
    first = (tmp_path / "run" / "measurements.csv").read_text()
    assert "entropy" in first
    assert uddm("validate", tmp_path / "run").status == 0  # a run is its own config and checkpoint
    refused = uddm("validate", foreign)
    assert refused.status == 2
    assert "Give the folder of this run as `--out RUN`" in refused.err
    save_masked_lm(tmp_path / "bert")
    refused = uddm("validate", tmp_path / "bert", "--out", tmp_path / "other")
    assert refused.status == 2
    assert "a model of `transformers` has none. Use `uddm probe` with `--text FILE`" in refused.err


# Python itself reports what is imported, opened, unpickled or started. Hub folders that are converted: test_convert.py.
WATCHED = """
import sys
import transformers  # what this library does when it is imported is its own affair
from uddm_lightning.cli.main import main
from uddm_lightning.commands import preflight, probe
started = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
seen = []
def watch(event, about):
    name = str(about[0]) if about else ""
    named = event in ("import", "open", "compile", "exec") and ("hostile" in name or "transformers_modules" in name)
    if event in started or named:
        seen.append((event, name))
sys.addaudithook(watch)
few = ["-n", "2", "--times", "0.5", "--steps", "2", "--device", "cpu"]
statuses = [main(words) for folder in sys.argv[1:] for words in (["preflight", folder], ["probe", folder, *few])]
print(statuses, seen, [name for name in sys.modules if "hostile" in name])
"""


@pytest.mark.slow
def test_nothing_that_a_folder_names_is_run_or_imported(tmp_path: Path) -> None:
    classes = ("AutoConfig", "AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoTokenizer", "AutoModel")
    hostile = {
        "auto_map": dict.fromkeys(classes, "hostile.Model"),
        "custom_pipelines": {"a": {"impl": "hostile.Model"}},
    }
    folders = []
    for save in (save_masked_lm, save_block_diffusion, save_gidd):
        folder = tmp_path / save.__name__
        save(folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **hostile}))
        for name in ("hostile.py", "__init__.py", "configuration_hostile.py"):
            (folder / name).write_text(HOSTILE)
        folders.append(str(folder))
    words = [sys.executable, "-c", WATCHED, *folders]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 0] [] []", done.stdout + done.stderr
    assert not list(tmp_path.rglob("ran"))
