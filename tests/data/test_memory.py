"""Memory of a corpus with ten million rows, and of one with two million."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROWS = 10**7
GIBIBYTE = 2**30
FIXED = 32 * 2**20  # of work that does not depend on the number of rows: first batches, the allocator's reserve
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak of memory")

# VmHWM counts this program alone; `getrusage` also counts the process that started it.
PEAK = """
import json, sys, time
from itertools import islice
from pathlib import Path
import torch
torch.set_num_threads(1)
results = {}
started = time.perf_counter()
def tell(name, value=None):
    global started
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    results[name] = {"peak": int(line.split()[1]) * 1024, "value": value, "seconds": time.perf_counter() - started}
    started = time.perf_counter()
"""

BUILD = """
from uddm_lightning.data import CharacterTokenizer, TextDataModule, TextFiles, WrappedPacking
def module():
    return TextDataModule(
        TextFiles(sys.argv[1]), CharacterTokenizer("abcdefghijklmnop"), WrappedPacking(8), train_size=int(sys.argv[3]),
        batch_size=256,
        cache_dir=sys.argv[2], num_train_rows=int(sys.argv[3]) // 10, num_test_rows=10**4,
    )
tell("import")
tell("build", len(module().corpus.train))
data = module()
tell("open", [len(data.corpus.train), len(data.corpus.test), data.corpus.meta["test"]["removed"]])
rows = data.subset.rows(torch.arange(len(data.subset)))
tell("select", [rows.numel(), rows.unique().numel(), int(rows.min()), int(rows.max())])
tell("hash", data.manifest()["subset"])
mine = torch.zeros(len(data.corpus.train), dtype=torch.bool)
mine[rows] = True
stream = data.train_dataloader()
tell("stream", [bool(mine[batch.rows_B].all()) for batch in islice(stream, 400)].count(True))
tell("training rows", list(data.training_rows().shape))
tell("measure", [sum(len(batch.rows_B) for batch in loader) for loader in data.val_dataloader()[:2]])
sys.stdout.write(json.dumps(results))
"""

READ = """
from uddm_lightning.data import Rows, Subset, TrainDataset
meta = json.loads(sys.argv[2])
rows = Rows(Path(sys.argv[1]), "train", meta)
batches = TrainDataset(rows, Subset(len(rows), 1.0, 0, "0" * 32), 500, 0)
tell("read", sum(len(batch.rows_B) for batch in islice(batches, 300)))
sys.stdout.write(json.dumps(results))
"""


def run_script(script: str, *arguments: str) -> dict[str, dict[str, Any]]:
    child = subprocess.run(
        [sys.executable, "-c", PEAK + script, *arguments], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, dict[str, Any]] = json.loads(child.stdout)
    return found


@LINUX
@pytest.mark.parametrize(
    "lines", [pytest.param(18_000, marks=pytest.mark.slow), pytest.param(90_000, marks=pytest.mark.bar)]
)
def test_ten_million_rows_need_at_most_a_gigabyte(tmp_path: Path, lines: int) -> None:
    """Fewer rows may add a proportional share to the memory of the imports, and a fixed part."""
    share, size = lines / 90_000, 10**6 * lines // 90_000
    letters = np.random.default_rng(0).integers(ord("a"), ord("q"), (lines, 1001), dtype=np.uint8)
    letters[:, -1] = ord("\n")
    (tmp_path / "text.txt").write_bytes(letters.tobytes())
    found = run_script(BUILD, str(tmp_path / "text.txt"), str(tmp_path / "cache"), str(size))
    pool, test_fraction, removed = found["open"]["value"]
    assert found["build"]["value"] == pool >= share * ROWS
    assert found["select"]["value"][:2] == [size, size]
    assert 0 <= found["select"]["value"][2] < pool / 10**4
    assert pool * (1 - 1e-4) < found["select"]["value"][3] < pool
    assert found["stream"]["value"] == 400
    assert found["training rows"]["value"] == [size, 8]
    assert found["measure"]["value"] == [size // 10 // 256 * 256 + 256, 10**4 // 256 * 256 + 256]
    imports = found["import"]["peak"]
    largest = imports + share * (GIBIBYTE - imports) + (1 - share) * FIXED  # a gigabyte for ten million rows
    assert {name: step["peak"] for name, step in found.items() if step["peak"] >= largest} == {}, found

    # by an independent count, every row of the text is in one of the two files, or was removed because it is in both
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    sixteens = 16 ** np.arange(8, dtype=np.int64)
    train, test = (np.fromfile(folder / f"{split}.bin", "<u2").reshape(-1, 8) @ sixteens for split in ("train", "test"))
    assert (len(train), len(test)) == (pool, test_fraction)
    assert pool + test_fraction + removed == lines * 1000 // 8
    text = (letters[:, :-1].reshape(-1, 8) - ord("a")) @ sixteens
    assert removed > 0
    assert np.array_equal(np.sort(test), np.sort(text[~np.isin(text, train)]))


@LINUX
@pytest.mark.slow
def test_random_access_keeps_a_bounded_part_of_the_file_in_memory(tmp_path: Path) -> None:
    length = 128
    for name, size in (("train", 2 * length), ("train_special", length // 8), ("train_lengths", 4)):
        with (tmp_path / f"{name}.bin").open("wb") as file:
            file.truncate(ROWS * size)  # a sparse file: no disk space, normal memory when read
    meta = {"rows": ROWS, "length": length, "dtype": "uint16", "special": True, "lengths": True}
    meta |= {"document_ids": False, "hash": "0" * 32}
    found = run_script(READ, str(tmp_path), json.dumps(meta))["read"]
    assert found["value"] == 150_000
    assert found["peak"] < GIBIBYTE, found
