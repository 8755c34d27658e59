"""The animated picture of the README."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uddm_lightning.commands.demo import TABLES
from uddm_lightning.core.errors import InputError
from uddm_lightning.report.figures.animation import write_animation
from uddm_lightning.results.tables import read_table
from uddm_lightning.transition import estimate

PICTURE = Path(__file__).parents[3] / ".github" / "images" / "demo.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("demo")
    for path in TABLES.iterdir():
        shutil.copyfile(path, found / path.name)
    transition = estimate(read_table(found / "measurements.csv"), None)
    (found / "transition.json").write_text(json.dumps(transition), encoding="utf-8")
    return found


def test_there_is_a_frame_for_each_size_and_each_differs(folder, tmp_path):
    write_animation(folder, tmp_path / "a.png")
    sizes = {row["train_size"] for row in read_table(folder / "measurements.csv")}
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.n_frames == len(sizes)
        assert picture.info["loop"] == 0  # for ever
        frames = []
        for number in range(picture.n_frames):
            picture.seek(number)
            frames.append(np.array(picture.convert("RGB"), dtype=int))
            assert picture.info["duration"] >= 1500  # there is time to read
    assert all(abs(a - b).sum() > 0 for a, b in pairwise(frames))


def test_the_stored_picture_is_small_and_moves():
    assert PICTURE.stat().st_size < 1_500_000
    with Image.open(PICTURE) as picture:
        assert picture.n_frames == len({row["train_size"] for row in read_table(TABLES / "measurements.csv")})


def test_a_folder_without_sequences_is_refused(folder, tmp_path):
    for name in ("measurements.csv", "transition.json"):
        shutil.copyfile(folder / name, tmp_path / name)
    with pytest.raises(InputError, match="holds no restored sequences"):
        write_animation(tmp_path, tmp_path / "a.png")
