"""uddm preflight, with a fake hub that has given files or does not answer."""

import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uddm_lightning.cli.main import main
from uddm_lightning.commands.preflight import preflight
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.requirements import _precision

ROOT = Path(__file__).parents[2]
PAPER = ["-c", str(ROOT / "configs" / "paper" / "lm1b_tiny.yaml")]
Usage = namedtuple("Usage", "total used free")


class FakeHub:
    """Hub with the given repositories; it records the requests."""

    def __init__(self, **files: dict[str, int]) -> None:
        self.files = {name.replace("__", "/").replace("_", "-"): sizes for name, sizes in files.items()}
        self.asked: list[tuple[str, str, str]] = []

    def repo_info(self, repo_id: str, *, revision: str, repo_type: str, timeout: float, files_metadata: bool) -> Any:
        assert files_metadata
        self.asked.append((repo_id, revision, repo_type))
        if repo_id not in self.files:
            raise ConnectionError("no route to the hub\nby any way")
        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in self.files[repo_id].items()]
        return SimpleNamespace(siblings=siblings)


@pytest.fixture(autouse=True)
def set_free_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Use empty caches and no GPU; return a function that sets the free bytes of the disk."""

    def set_free(free: int) -> None:
        monkeypatch.setattr("uddm_lightning.preflight.needs.shutil.disk_usage", lambda _: Usage(0, 0, free))

    set_free(10**12)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80 * 10**9))
    monkeypatch.chdir(tmp_path)
    return set_free


LM1B = FakeHub(
    billion_word_benchmark__lm1b={
        **{f"plain_text/train/000{k}.parquet": 361_000_000 for k in range(8)},
        "plain_text/train/0008.parquet": 172_000_000,
        "plain_text/test/0000.parquet": 30_000_000,
        "plain_text/train/index.duckdb": 10**12,
    },
    bert_base_uncased={"tokenizer.json": 466_062, "model.safetensors": 440_000_000},
)


def table(text: str) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        lines.setdefault(name, []).append(value.strip())
    return lines


def test_the_table_of_the_paper_s_tiny_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight(PAPER, LM1B) == 0
    found = table(capsys.readouterr().out)
    revision = "8d52bfd3cc2819fc1166dbb8144c328e2690de3e"
    assert LM1B.asked == [("billion-word-benchmark/lm1b", revision, "dataset"), ("bert-base-uncased", "main", "model")]
    assert found["download"] == [
        f"billion-word-benchmark/lm1b at {revision}: 10 file(s), 3.09 GB; nothing in the cache",
        "bert-base-uncased at main: 1 file(s), 466 kB; nothing in the cache",
    ]
    assert found["vocabulary"] == ["30,522 ids"]
    assert found["parameters"] == ["23,664,442"]
    assert found["memory"][0].startswith("473 MB per process")  # 5 values of 4 bytes per parameter
    assert "2 optimizer value(s) per parameter" in found["memory"][0]
    assert found["step"] == ["512 rows of 128, 65,536 tokens; 1 process(es) x 1 micro-batch(es) of 512"]
    assert found["training"] == ["1,000,000 steps, 65.5 x 10^9 tokens"]
    assert found["pool"] == ["about 7.15 x 10^6 rows"]
    assert found["precision"] == ["bf16-mixed, slow on a CPU"]
    # Parquet files, the copy for random access, rows of 128 x 2 + 16 bytes, two checkpoints of 16 bytes per parameter
    assert found["disk"][0].startswith("10.1 GB needed, 1e+03 GB free")


def test_known_sizes_are_used_when_the_hub_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight(PAPER, FakeHub()) == 0
    found = table(capsys.readouterr().out)
    assert "about 3.09 GB (the hub did not answer: ConnectionError: no route" in found["download"][0]
    assert "about 466 kB (the hub did not answer" in found["download"][1]
    assert found["parameters"] == ["23,664,442"]


def test_the_size_of_an_unknown_repository_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    path = ("--data.source.init_args.source.init_args.path", "some/text")
    assert preflight([*PAPER, *path, "--data.tokenizer.init_args.path", "some/words"], FakeHub()) == 0
    found = table(capsys.readouterr().out)
    assert "some/text at 8d52bfd3cc2819fc1166dbb8144c328e2690de3e: size unknown" in found["download"][0]
    assert found["pool"] == ["known after the text is read"]
    assert "known after the text is read" in found["vocabulary"][0]
    assert "parameters" not in found


def test_cached_files_need_no_disk_space(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    revisions = ("8d52bfd3cc2819fc1166dbb8144c328e2690de3e", "0" * 40)
    for kind, revision in ((kind, revision) for kind in ("models", "datasets") for revision in revisions):
        snapshot = tmp_path / "hub" / f"{kind}--billion-word-benchmark--lm1b" / "snapshots" / revision
        (snapshot / "plain_text" / "train").mkdir(parents=True)
        for name in ("0000.parquet", "0001.parquet", "index.duckdb"):
            with (snapshot / "plain_text" / "train" / name).open("wb") as file:
                file.truncate(361_000_000)  # takes no space on the disk
    for answers in (LM1B, FakeHub()):
        assert preflight(PAPER, answers) == 0
        found = table(capsys.readouterr().out)
        assert found["download"][0].endswith("; 722 MB in the cache")
        assert found["disk"][0].startswith("9.35 GB needed")


def refused(arguments: list[str], answers: FakeHub, message: str) -> None:
    with pytest.raises(InputError, match=rf"^This run could not start here\. .*{message}"):
        preflight(arguments, answers)


def test_a_run_that_cannot_start_is_refused_after_the_table(
    capsys: pytest.CaptureFixture[str], set_free_space: Callable[[int], None]
) -> None:
    refused([*PAPER, "--trainer.devices", "3"], LM1B, r"`data\.batch_size` is 512, .* not divisible by 3 process")
    refused(
        [*PAPER, "--trainer.accelerator", "gpu", "--trainer.devices", "8"],
        LM1B,
        r"8 device\(s\), but this machine has 0 GPU",
    )
    refused(PAPER, FakeHub(billion_word_benchmark__lm1b={"lm1b.py": 3}), "has no file that matches plain_text/train/")
    assert "parameters" in capsys.readouterr().out
    set_free_space(10**9)
    refused(PAPER, LM1B, r"has 1 GB free, but the run writes about 10\.1 GB; .* \$HF_HOME and \$UDDM_CACHE")
    missing = ["-c", str(ROOT / "configs" / "markov.yaml"), "--data.source", "TextFiles"]
    refused([*missing, "--data.source.init_args.paths", "no.txt"], FakeHub(), r"no file matches `no\.txt`")
    with pytest.raises(InputError, match="hiden"):
        preflight([*PAPER, "--model.backbone.init_args.hiden", "3"], LM1B)


def test_a_config_of_local_text(capsys: pytest.CaptureFixture[str]) -> None:
    asked = FakeHub()
    assert preflight(["-c", str(ROOT / "configs" / "markov.yaml")], asked) == 0
    found = table(capsys.readouterr().out)
    assert asked.asked == []
    assert found["download"] == ["nothing"]
    assert found["vocabulary"] == ["16 ids"]
    assert found["subset"] == ["8192 rows"]
    assert found["precision"] == ["32-true"]


def test_many_processes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    fragment = ["-c", str(ROOT / "configs" / "distributed" / "slurm.yaml")]
    assert preflight([*PAPER, *fragment], LM1B) == 0
    found = table(capsys.readouterr().out)
    assert found["step"][0].endswith("16 process(es) x 1 micro-batch(es) of 32")
    assert found["precision"] == ["bf16-mixed, available"]


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _precision("32-true", False) == "32-true"
    assert _precision("bf16-mixed", False) == "bf16-mixed, slow on a CPU"
    assert _precision("16-true", False) == "16-true, slow on a CPU"
    assert _precision("16-mixed", False) == "16-mixed is NOT available on a CPU"
    for supported, words in ((True, "bf16-mixed, available"), (False, "bf16-mixed, which this GPU only emulates")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, is_=supported: is_)
        assert _precision("bf16-mixed", True) == words


def test_the_command_line_runs_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("uddm_lightning.preflight.requirements.HfApi", FakeHub)
    assert main(["preflight", *PAPER]) == 0
    assert "23,664,442" in capsys.readouterr().out
    assert main(["preflight", *PAPER, "--trainer.devices", "3"]) == 2
    assert capsys.readouterr().err.startswith("uddm: error: This run could not start here. `data.batch_size` is 512")


def test_problems_of_the_start_of_a_run_are_reported(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    critic = ["--samples.critic", "HubCritic", "--samples.critic.init_args.model", "gpt2"]
    with pytest.raises(InputError) as refused:
        preflight([*PAPER, "-c", "paper/fp16", *critic], LM1B)
    message = str(refused.value)
    assert "`trainer.precision` is 16-mixed, which a CPU does not have" in message
    assert "`samples.critic` is HubCritic, which needs `transformers`: pip install 'uddm-lightning[critic]'" in message
    assert table(capsys.readouterr().out)["precision"] == ["16-mixed is NOT available on a CPU"]
    assert preflight([*PAPER, *critic, "--samples.enabled", "false"], LM1B) == 0
