"""Settings chosen from a text and a machine."""

from collections import Counter

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.text_survey import TextSurvey
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.text_choices import Machine, choose

LAPTOP, SLOW = Machine(2, False, 170e9), Machine(1, False, 50e9)
SERVER, GPU = Machine(32, False, 170e9), Machine(4, True, 170e9)


def survey(characters: int, files: int = 1, paragraphs: int = 1, lines: int = 1) -> TextSurvey:
    counts = Counter({"a": characters // 2, "b": characters // 4, " ": characters // 4})
    return TextSurvey(files, paragraphs, lines, counts, is_whole=True)


def chosen(characters: int, machine: Machine = LAPTOP, **counts: int):
    return choose(survey(characters, **counts), ["my.txt"], machine)


@pytest.mark.parametrize(
    ("characters", "machine", "length", "largest"),
    [
        (400, LAPTOP, 16, 8),
        (10_000, LAPTOP, 16, 512),
        (100_000, LAPTOP, 32, 2048),
        (10_000_000, LAPTOP, 32, 8192),
        (10_000_000, SERVER, 64, 32_768),
        (10_000_000, GPU, 64, 32_768),
        (1_000_000, SERVER, 32, 8192),
    ],
)
def test_rows_and_sizes_fit_text_and_machine(characters, machine, length, largest):
    found = chosen(characters, machine)
    data = found.config["data"]
    assert data["packing"]["init_args"]["length"] == length
    assert data["batch_size"] * length == 1024
    assert data["train_size"] == largest <= 0.9 * characters / length
    listed = sizes.parse(found.sizes, int)
    assert (listed[0], listed[-1]) == (2, largest)
    assert found.reasons["sizes"].endswith(("about as many as the text has", "more rows need more training"))


def test_a_slow_machine_trains_fewer_sizes_and_steps():
    fast, slow = chosen(10_000_000), chosen(10_000_000, SLOW)
    steps = [one.config["trainer"]["max_steps"] for one in (fast, slow)]
    assert steps[0] == 3000 > steps[1] >= 500
    assert len(sizes.parse(fast.sizes, int)) == 7 > len(sizes.parse(slow.sizes, int)) == 5
    assert "on 1 core(s)" in slow.reasons["steps"]
    for one in (fast, slow):
        assert one.config["trainer"]["max_steps"] == 5 * one.config["trainer"]["val_check_interval"]
    assert chosen(10_000_000, GPU).config["trainer"]["accelerator"] == "gpu"
    assert "GPU" in chosen(10_000_000, GPU).reasons["steps"]


@pytest.mark.parametrize(
    ("counts", "unit"),
    [
        ({"files": 200, "paragraphs": 900, "lines": 5000}, "file"),
        ({"files": 3, "paragraphs": 900, "lines": 5000}, "paragraph"),
        ({"paragraphs": 3, "lines": 5000}, "line"),
        ({"paragraphs": 3, "lines": 9}, "line"),
    ],
)
def test_the_largest_unit_of_which_there_are_many_is_held_out(counts, unit):
    found = chosen(100_000, **counts)
    assert found.config["data"]["source"]["init_args"]["document"] == unit
    assert found.reasons["documents"].startswith(f"each {unit}, {counts[unit + 's']:,} in all")


def test_each_choice_has_a_reason():
    assert list(chosen(100_000).reasons) == ["text", "documents", "tokens", "rows", "sizes", "steps"]


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(InputError, match=r"`--text my\.txt` gives about 5 training rows of 16 tokens"):
        chosen(100)


def test_this_machine_is_described():
    here = Machine.here()
    assert here.cores >= 1
    assert 1e8 < here.speed < 1e13
