"""Samples compared with the training rows of their run."""

import json

import numpy as np
import pyarrow.parquet as pq
import torch

from tests.runs.conftest import loaded


def test_samples_are_compared_with_the_training_rows(sampled, run, tmp_path):
    out = sampled(tmp_path / "s.parquet", 20, "--against")
    model = loaded(run / "config.yaml", "last", None, None)
    corpus = model.corpus()
    manifest = json.loads((run / "manifest.json").read_text())
    subset = drawing_subset(corpus, manifest)
    tokens = pq.read_table(tmp_path / "s.parquet")["tokens"].to_pylist()
    least = [min(sum(a != b for a, b in zip(row, other, strict=True)) for other in subset) for row in tokens]
    assert "against 8 training rows: 0 memorized" in out
    assert f"nearest training row: {np.mean(least) / 16:.3f} of positions differ" in out
    assert "generative perplexity under the 5-gram critic" in out


def drawing_subset(corpus, manifest):
    from uddm_lightning.data.subset import Subset

    subset = Subset(len(corpus.train), manifest["train_size"], manifest["seed"], corpus.hash)
    return corpus.train.tokens(subset.rows(torch.arange(len(subset)))).tolist()
