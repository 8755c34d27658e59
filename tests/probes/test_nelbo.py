"""The probe of the NELBO: its range of noise levels, and memorized bits."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.command_line import measure_oracle, select, tiny_config, write_corpus
from uddm_lightning.core.errors import InputError
from uddm_lightning.probes import NelboProbe


def test_the_range_of_a_nelbo_is_checked():
    for name in ("t_min", "t_max"):
        for value in (0.0, 1.5):
            with pytest.raises(ValueError, match=rf"`nelbo\.{name}` must be in \(0, 1\], got {value}"):
                NelboProbe(**{name: value})
    with pytest.raises(ValueError, match=r"`nelbo\.times_per_row` must be at least 1, got 0"):
        NelboProbe(times_per_row=0)


def task_of(t_min: float = 0.05, t_max: float = 1.0, parameters: int = 1) -> Any:
    return SimpleNamespace(objective=SimpleNamespace(t_min=t_min, t_max=t_max), parameter_count=parameters)


def test_a_nelbo_is_measured_on_the_trained_range_and_marked_beyond_it():
    assert NelboProbe().ranges(task_of()) == {"nelbo": (0.05, 1.0)}
    assert NelboProbe(t_min=0.2).ranges(task_of()) == {"nelbo": (0.2, 1.0)}
    assert NelboProbe(t_min=0.05).ranges(task_of()) == {"nelbo": (0.05, 1.0)}
    wider = NelboProbe(t_min=0.001)
    assert wider.ranges(task_of()) == {"nelbo": (0.05, 1.0), "nelbo_extrapolated": (0.001, 1.0)}
    assert wider.ranges(task_of(0.001)) == {"nelbo": (0.001, 1.0)}
    assert NelboProbe(t_max=0.9).ranges(task_of(t_max=0.8))["nelbo_extrapolated"] == (0.05, 0.9)
    assert wider.ranges(task_of(parameters=0)) == {"nelbo": (0.001, 1.0)}, (
        "a backbone without parameters has no trained range"
    )
    with pytest.raises(InputError, match=r"got 0\.05 and 0\.01; a missing end is that of training, 0\.05"):
        NelboProbe(t_max=0.01).ranges(task_of())


def posterior_entropy(alpha: float, V: int) -> float:
    """Return the entropy of x_0 given x_t for uniform random tokens, in nats per token."""
    same = alpha + (1 - alpha) / V
    return -(same * math.log(same) + (1 - same) * math.log((1 - same) / (V - 1)))


OFF = [word for kind in ("recovery", "entropy", "basin", "samples") for word in (f"--{kind}.enabled", "false")]
MEMORIZED = ("memorized_bits", "memorized_bits_low", "memorized_bits_high")
RANDOM = {
    "source": {"class_path": "MarkovSource", "init_args": {"num_documents": 400, "length": 8, "sharpness": 0.0}},
    "tokenizer": {"class_path": "CharacterTokenizer", "init_args": {"alphabet": "abcdefghijklmnop"}},
    "packing": {"class_path": "WrappedPacking", "init_args": {"length": 8}},
    "num_train_rows": 2048,
    "num_test_rows": 64,
    "eval_batch_size": 512,
}


@pytest.mark.parametrize("t_min", [1e-3, 1e-6])
def test_a_model_that_stores_random_rows_has_memorized_their_bits_but_ln_n(uddm, tmp_path, t_min):
    """n (L ln V - ln n) / ln 2 bits, less the piece of the reference below t_min; the memory has none there."""
    n, L, V = 16, 8, 16
    config = tiny_config(tmp_path / "unused")
    config |= {"data": {**config["data"], **RANDOM, "train_size": n}, "nelbo": {"t_min": t_min, "times_per_row": 8}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    rows = measure_oracle(uddm, path, tmp_path / "run", "EmpiricalBayesBackbone", *OFF)
    (row,) = select(rows, "nelbo", "train")
    assert float(row["raw_bits"]) == L * math.log2(V)
    bits, low, high = (n * float(row[name]) for name in MEMORIZED)
    missing = L * posterior_entropy(1 - 0.999 * t_min, V)
    assert low < n * (L * math.log(V) - math.log(n) - missing) / math.log(2) < high
    assert bits == pytest.approx(n * (L * math.log(V) - math.log(n)) / math.log(2), rel=0.01)
    assert high - low < 0.06 * bits


def test_the_exact_model_has_memorized_nothing_and_other_text_has_no_reference(uddm, tmp_path, markov_config):
    rows = measure_oracle(uddm, markov_config, tmp_path / "exact", "MarkovBackbone", *OFF)
    assert [float(select(rows, "nelbo", "train")[0][name]) for name in MEMORIZED] == [0.0, 0.0, 0.0]
    worse = measure_oracle(uddm, markov_config, tmp_path / "worse", "UnigramBackbone", *OFF)
    (row,), (exact,) = (select(rows, "nelbo", "test") for rows in (worse, rows))
    assert float(row["memorized_bits_high"]) < 0, "it has not learned the chain"
    excess, low, high = (float(row[f"excess_nelbo{end}"]) for end in ("", "_low", "_high"))
    assert 0 < low < excess < high
    noise = [float(one["nelbo_high"]) - float(one["nelbo_low"]) for one in (row, exact)]
    assert excess == pytest.approx(float(row["nelbo"]) - float(exact["nelbo"]), abs=sum(noise))
    assert high - low < sum(noise), "noise is shared"
    path = tmp_path / "text.json"
    path.write_text(json.dumps(tiny_config(write_corpus(tmp_path / "words.txt"))))
    rows = measure_oracle(uddm, path, tmp_path / "text", "UnigramBackbone", *OFF)
    assert not select(rows, "nelbo", "train")[0].get("memorized_bits")
