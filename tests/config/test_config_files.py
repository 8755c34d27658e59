"""Configs by path and by name."""

from pathlib import Path

import pytest

from uddm_lightning.config.config_files import describe_config, find_config, find_config_options, shipped_configs


def test_a_file_wins_over_a_name(tmp_path: Path) -> None:
    shipped = shipped_configs()["quickstart"]
    assert find_config("quickstart") == find_config("quickstart.yaml") == shipped
    (tmp_path / "quickstart").write_text("seed_everything: 1\n", encoding="utf-8")
    assert find_config("quickstart") == Path("quickstart")
    assert find_config("nowhere.yaml") == Path("nowhere.yaml")


@pytest.mark.parametrize("words", [["-c", "markov"], ["--config", "markov"], ["--config=markov"], ["-c=markov"]])
def test_a_name_is_replaced_by_its_path(words: list[str]) -> None:
    path = str(shipped_configs()["markov"])
    found = find_config_options(["fit", *words, "--out", "markov"])
    assert found == ["fit", *(word.replace("markov", path) for word in words), "--out", "markov"]


def test_the_description_is_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("# A model of text.\n# More.\nseed_everything: 0\n", encoding="utf-8")
    assert describe_config(path) == "A model of text"
    path.write_text("seed_everything: 0\n", encoding="utf-8")
    assert describe_config(path) == ""
