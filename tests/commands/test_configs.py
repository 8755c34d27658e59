"""Shipped configs are listed with one line each, printed, and found by name."""

from uddm_lightning.config.config_files import shipped_configs


def test_every_config_is_listed_with_one_line(uddm) -> None:
    outcome = uddm("configs")
    assert outcome.status == 0
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines.keys() == shipped_configs().keys()
    assert {"quickstart", "markov", "paper/lm1b_tiny", "corpora/text8", "backbones/hidden32"} <= lines.keys()
    assert all(0 < len(text) <= 110 for text in lines.values()), lines


def test_a_config_is_printed(uddm) -> None:
    path = shipped_configs()["paper/lm1b_tiny"]
    assert uddm("configs", "paper/lm1b_tiny").out == path.read_text(encoding="utf-8")
    assert uddm("configs", "quickstart", "--path").out == f"{shipped_configs()['quickstart']}\n"
    outcome = uddm("configs", "quikstart")
    assert outcome.status == 2
    assert "there is no such config; did you mean `quickstart`?" in outcome.err


def test_a_path_needs_a_name(uddm) -> None:
    outcome = uddm("configs", "--path")
    assert (outcome.status, outcome.out) == (2, "")
    assert "`--path` needs the name of a config" in outcome.err
