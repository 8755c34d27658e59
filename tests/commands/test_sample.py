"""`uddm sample` draws the samples of the probe, and describes them in its file."""

import json
import math
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.runs.conftest import arguments, loaded
from uddm_lightning.metrics import functional as F
from uddm_lightning.runs import shards
from uddm_lightning.runs.instantiate import build_data
from uddm_lightning.runs.manifest import read_run_name


def test_samples_equal_those_of_the_probe_and_the_file_describes_them(sampled, run, tmp_path):
    out = sampled(tmp_path / "s.parquet", 20)
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.schema.remove_metadata() == shards.FILE
    assert table["sample"].to_pylist() == list(range(20))
    texts = table["text"].to_pylist()
    assert [line for line in out.splitlines() if line[:6] in ("   0: ", "   1: ", "   2: ", "   3: ")] == [
        f"   {number}: {texts[number]}" for number in range(3)
    ]

    config = yaml.safe_load((run / "config.yaml").read_text())
    data = build_data(config)
    data.source.paths = str(run / "gone")  # not asked for
    model = loaded(run / "config.yaml", "last", None, None)
    monkeyed = model.corpus()
    data.__dict__["corpus"] = monkeyed
    [batch, _] = iter(data.val_dataloader()[2])
    denoiser = model.task.denoiser("ema")
    drawn_BL = model.task.sampler(denoiser, batch.tokens_BL, 1.0, batch.keys_B)
    tokens = table["tokens"].to_pylist()
    assert drawn_BL.tolist() == tokens[:8]
    assert table["text"].to_pylist() == [monkeyed.tokenizer.decode(row) for row in tokens]

    t_min = model.task.objective.t_min
    t_B = torch.full((20,), t_min, dtype=torch.float64)
    (entropy_BL,) = denoiser(lambda logits, x: (F.entropy(logits),), torch.tensor(tokens), t_B, None)
    np.testing.assert_allclose(np.array(table["entropy"].to_pylist()), entropy_BL.numpy(), rtol=1e-6)
    for row, found in zip(tokens, table["unigram_entropy"].to_pylist(), strict=True):
        assert found == pytest.approx(-sum(n / 16 * math.log(n / 16) for n in Counter(row).values()))

    said = json.loads(pq.read_schema(tmp_path / "s.parquet").metadata[b"uddm"])
    name = read_run_name(run)
    expected = {
        "run": name,
        "step": 6,
        "weights": "ema",
        "sampler": "ancestral",
        "sampler_steps": 10,
        "seed": 0,
        "samples": 20,
    }
    assert expected.items() <= said.items()
    assert said["checkpoint"] == model.digest
    assert set(said["versions"]) == {"python", "torch", "uddm_lightning"}
    assert f"entropy at t = 0.02: {float(entropy_BL.mean()):.3f} nats per token" in out
    assert f"unigram entropy: {np.mean(table['unigram_entropy'].to_pylist()):.3f} nats" in out
    assert not (tmp_path / "s.parquet.parts").exists()


def test_a_checkpoint_and_a_config_are_sufficient(sampled, run, tmp_path, monkeypatch):
    """The file does not depend on the text, except for the column of text."""
    sampled(tmp_path / "with.parquet", 9)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    sampled(tmp_path / "without.parquet", 9)
    there, bare = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("with", "without"))
    assert bare["text"].to_pylist() == [None] * 9
    assert there.drop_columns("text").equals(bare.drop_columns("text"))
    assert not (tmp_path / "empty").exists()
    assert "is not in the cache" in sampled(tmp_path / "without.parquet", 9, "--against", status=2)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("-n", "0", "`-n` must be from 1 to"),
        ("--steps", "0", "`--steps` must be from 1 to"),
        ("--batch_size", "0", "`--batch_size` must be from 1 to"),
        ("--processes", "0", "`--processes` must be from 1 to"),
        ("--seed", "-1", "`--seed` must be from 0 to"),
        ("--device", "nonsense", "`--device nonsense` cannot be used"),
        ("--ckpt_path", "nowhere.ckpt", "`--ckpt_path nowhere.ckpt`: there is no such file"),
        ("--weights", "both", "invalid choice: 'both'"),
        ("--out", "s.csv", "`--out s.csv`: samples are written to a parquet file, such as `s.parquet`."),
    ],
)
def test_invalid_arguments_give_one_message(uddm, run, tmp_path, option, value, message):
    outcome = uddm(*arguments(run, tmp_path / "s.parquet", 4), option, value)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


# ------------------------------------------------------------------------------------------------ with real processes
