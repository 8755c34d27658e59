"""The configs of the paper contain the paper's numbers, as resolved configs and as the objects made from them."""

import copy
import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tokenizers
import torch
import yaml

from tests.support import standins
from uddm_lightning import backbones
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.data import LM1BDetokenizer
from uddm_lightning.data.subset import num_rows
from uddm_lightning.objectives import DuoCurriculum
from uddm_lightning.preflight.needs import num_parameters
from uddm_lightning.probes import EntropyProbe, NelboProbe, RecoveryProbe
from uddm_lightning.runs.instantiate import build_data
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.options import expand_files
from uddm_lightning.training.ema import ExponentialMovingAverage
from uddm_lightning.training.task import DiffusionTask

PAPER = Path(__file__).parents[2] / "configs" / "paper"
V = 30_522
NETWORKS = {  # hidden, blocks, heads, millions of parameters
    "tiny": (256, 8, 8, 23.7),
    "small": (768, 12, 12, 139.3),
    "medium": (1024, 24, 16, 384.0),
}
FRACTIONS = [
    *(0.0001, 0.000719, 0.001338, 0.001956, 0.002575, 0.003194, 0.003813, 0.004431, 0.00505, 0.005669, 0.006288),
    *(0.006906, 0.007525, 0.008144, 0.008762, 0.009381, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06),
    *(k / 100 for k in range(7, 98, 3)),
    1.0,
]


@cache
def resolved(name: str) -> dict[str, Any]:
    return resolve(["-c", str(PAPER / f"lm1b_{name}.yaml")]).values


def made(name: str, kind: type, key: str) -> Any:
    """Return an object of the resolved config, made by the parser of the command line."""
    parser = UddmParser()
    parser.add_class_arguments(kind, key, fail_untyped=False)
    return parser.instantiate(parser.parse_object({key: resolved(name)[key]}))[key]


@cache
def task(name: str) -> DiffusionTask:
    """Return the task with a small network."""
    content = {**resolved(name)["model"], "vocab_size": 27}
    content["backbone"] = {"class_path": "DiT", "init_args": {"hidden_size": 16, "n_blocks": 1, "n_heads": 2}}
    parser = UddmParser()
    parser.add_class_arguments(DiffusionTask, "model", fail_untyped=False)
    return parser.instantiate(parser.parse_object({"model": content})).model


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_network(name: str) -> None:
    hidden, blocks, heads, millions = NETWORKS[name]
    backbone = resolved(name)["model"]["backbone"]
    assert backbone["class_path"] == "uddm_lightning.backbones.DiT"
    wanted = {"hidden_size": hidden, "n_blocks": blocks, "n_heads": heads, "cond_dim": 128, "dropout": 0.1}
    assert {key: backbone["init_args"][key] for key in wanted} == wanted
    assert round(num_parameters(backbone, V) / 1e6, 1) == millions
    with torch.device("meta"):
        network = backbones.DiT(V, **backbone["init_args"])
    assert network.vocab_embed.embedding.shape == (V, hidden)
    assert network.output_layer.linear.weight is not network.vocab_embed.embedding
    assert len(network.blocks) == blocks
    assert {block.n_heads for block in network.blocks} == {heads}
    assert {block.dropout for block in network.blocks} == {0.1}
    assert {block.adaLN_modulation.in_features for block in network.blocks} == {128}


def test_the_three_differ_in_the_network_alone() -> None:
    contents = [copy.deepcopy(resolved(name)) for name in NETWORKS]
    for content in contents:
        for key in ("hidden_size", "n_blocks", "n_heads"):
            del content["model"]["backbone"]["init_args"][key]
    assert contents[0] == contents[1] == contents[2]


def test_optimizer_and_learning_rate(name: str) -> None:
    config = resolved(name)
    assert config["model"]["optimizer"]["class_path"] == "torch.optim.AdamW"
    total = config["trainer"]["max_steps"]
    assert total == 1_000_000
    optimizer = task(name).make_optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is torch.optim.AdamW
    [group] = optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (3e-4, (0.9, 0.999), 1e-8, 0.0)
    assert group["amsgrad"] is False
    for finished, rate in ((0, 0.0), (1, 1.2e-7), (1250, 1.5e-4), (2500, 3e-4), (2501, 3e-4), (10**6, 3e-4)):
        assert group["lr"] * task(name).lr_schedule(finished, total) == pytest.approx(rate, rel=1e-12)


def test_training(name: str) -> None:
    config = resolved(name)
    trainer = config["trainer"]
    assert trainer["gradient_clip_val"] == 1.0
    assert trainer["gradient_clip_algorithm"] in (None, "norm")
    assert trainer["precision"] == "bf16-mixed"
    overlay = yaml.safe_load((PAPER / "fp16.yaml").read_text(encoding="utf-8"))
    assert overlay == {"trainer": {"precision": "16-mixed"}}, "the paper's precision"
    assert trainer["accumulate_grad_batches"] == 1
    assert trainer["max_steps"] % trainer["val_check_interval"] == 0
    assert config["data"]["batch_size"] == 512


def test_moving_average(name: str) -> None:
    assert resolved(name)["model"]["ema_decay"] == 0.9999
    for step, decay in ((1, 2 / 11), (10, 11 / 20), (10**6, 0.9999)):
        average = ExponentialMovingAverage(
            backbones.DiT(27, hidden_size=16, n_blocks=1, n_heads=2), task(name).ema.decay
        )
        network = backbones.DiT(27, hidden_size=16, n_blocks=1, n_heads=2)
        with torch.no_grad():
            for parameter in average.backbone.parameters():
                parameter.fill_(1.0)
            for parameter in network.parameters():
                parameter.fill_(0.0)
        average.update(network, step)
        left = average.backbone.vocab_embed.embedding
        torch.testing.assert_close(left, torch.full_like(left, decay), rtol=1e-6, atol=0)


def test_noise(name: str) -> None:
    process = task(name).process
    assert type(process).__name__ == "UniformProcess"
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    level = process.level(t)
    torch.testing.assert_close(level.alpha, 1 - (1 - 1e-3) * t, rtol=0, atol=1e-15)
    torch.testing.assert_close(level.sigma, -(1 - (1 - 1e-3) * t).log())


def test_curriculum(name: str) -> None:
    objective = task(name).objective
    assert type(objective) is DuoCurriculum
    assert (objective.tau, objective.start_step, objective.end_step) == (1e-3, 0, 500_000)
    assert objective.gamma_range(V) == (-3.5, -1.75), "minus the log-SNR: less noise first"
    for gamma, alpha in zip(objective.gamma_range(V), (0.942, 0.049), strict=True):
        # a clean one-hot coordinate a + s e_0 is the largest of V with probability alpha + (1 - alpha) / V
        a = 1 / math.sqrt(1 + math.exp(gamma))
        s = math.sqrt(1 - a * a)
        x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        largest = torch.trapezoid(density * torch.special.ndtr(x + a / s) ** (V - 1), x)
        assert float((V * largest - 1) / (V - 1)) == pytest.approx(alpha, abs=5e-4)


def test_times_of_training_are_stratified(name: str) -> None:
    objective, batch = task(name).objective, resolved(name)["data"]["batch_size"]
    assert (objective.t_min, objective.t_max) == (1e-3, 1.0)
    u_B = torch.rand(batch, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    i_B = torch.arange(batch)
    t_B = objective.times((i_B + u_B) / batch)
    torch.testing.assert_close(t_B, 1e-3 + (1 - 1e-3) * (i_B + u_B) / batch, rtol=1e-14, atol=0)


def test_recovery(name: str) -> None:
    probe = made(name, RecoveryProbe, "recovery")
    assert probe.times == (0.05, 0.1, 0.25, 0.5, 1.0)
    assert probe.num_rows == 5000
    assert probe.include_special is True
    assert probe.weights == ("ema",)
    assert probe.sampler is None, "the task's"
    sampler = task(name).sampler
    assert (sampler.name, sampler.steps) == ("ancestral", 1000)
    grid = sampler.grid(1.0)
    assert len(grid) == 1002, "1000 steps to 1e-5, and one to 0"
    assert grid[0] == 1.0
    assert grid[-2:] == [1e-5, 0.0]
    widths = [a - b for a, b in pairwise(grid[:-1])]
    assert max(widths) == pytest.approx((1 - 1e-5) / 1000, rel=1e-9)
    assert min(widths) == pytest.approx((1 - 1e-5) / 1000, rel=1e-9)
    for t in probe.times:
        assert abs(sampler.grid(t)[0] - t) <= 0.5 * max(widths) + 1e-12, "the grid point nearest t"


def test_entropy(name: str) -> None:
    probe = made(name, EntropyProbe, "entropy")
    assert probe.times == (1e-5, 0.05, 0.1, 0.25, 0.5, 1.0)
    assert probe.num_rows == 20_000
    assert probe.include_special is True
    data = resolved(name)["data"]
    assert (data["num_train_rows"], data["num_test_rows"], data["num_sample_rows"]) == (20_000, 20_000, 20_000)
    assert data["num_random_rows"] == 5_000
    nelbo = made(name, NelboProbe, "nelbo")
    assert (nelbo.t_min, nelbo.t_max) == (1e-3, 1.0)


def test_data(name: str) -> None:
    data = resolved(name)["data"]
    assert data["source"]["class_path"].rpartition(".")[2] == "Detokenized"
    assert data["source"]["init_args"]["detokenizer"]["class_path"].rpartition(".")[2] == "LM1BDetokenizer"
    source = data["source"]["init_args"]["source"]["init_args"]
    assert (source["path"], source["split"], source["test_split"]) == ("billion-word-benchmark/lm1b", "train", "test")
    assert len(source["revision"]) == 40
    tokenizer = data["tokenizer"]["init_args"]
    assert tokenizer["path"] == "bert-base-uncased"
    assert (tokenizer["bos"], tokenizer["eos"], tokenizer["separator"]) == ("[CLS]", "[SEP]", "[SEP]")
    assert data["packing"]["class_path"].rpartition(".")[2] == "WrappedPacking"
    assert data["packing"]["init_args"]["length"] == 128
    assert data["train_size"] == 1.0


def test_the_54_fractions() -> None:
    tiny, study = str(PAPER / "lm1b_tiny.yaml"), str(PAPER / "sweep.yaml")
    words = expand_files(["-c", tiny, "-c", study, "--out", "x"])
    assert words == ["--sizes", words[1], "-c", tiny, "--out", "x"]
    given = [float(word) for word in words[1].split(",")]
    assert given == FRACTIONS
    assert len(given) == 54
    pool = 7_000_000
    found = sizes.parse(words[1], lambda size: num_rows(size, pool))
    exact = [round(fraction * 10**6) * pool // 10**6 for fraction in FRACTIONS]
    # floor(f * pool) in float64, where 0.001956 is a little less than it looks
    assert all(0 <= there - here <= 1 for here, there in zip(found, exact, strict=True))
    assert found[:6] == [700, 5033, 9366, 13_691, 18_025, 22_358]
    assert found[16:24] == [70_000, 140_000, 210_000, 280_000, 350_000, 420_000, 490_000, 700_000]
    assert found[-3:] == [6_580_000, 6_790_000, 7_000_000]


def test_rows_are_cls_126_tokens_sep(tmp_path: Path) -> None:
    """Compare text of the same form with the definition: all sentences joined by [SEP], cut into pieces of 126."""
    words = ["-c", str(PAPER / "lm1b_tiny.yaml"), *standins.options("configs/paper/lm1b_tiny.yaml", tmp_path)]
    data = build_data(resolve(words).values)
    cls, sep = data.tokenizer.bos_id, data.tokenizer.eos_id
    assert [data.tokenizer.decode_token(token) for token in (cls, sep)] == ["[CLS]", "[SEP]"]
    backend = tokenizers.BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=True)
    for split, rows in (("train", data.corpus.train), ("test", data.corpus.test)):
        joined: list[int] = []
        sentences = pq.read_table(tmp_path / "plain_text" / split / "0000.parquet")["text"].to_pylist()
        for sentence in map(LM1BDetokenizer(), sentences):
            joined += [*([sep] if joined else []), *backend.encode(sentence, add_special_tokens=False).ids]
        pieces = [[cls, *joined[k : k + 126], sep] for k in range(0, len(joined) - 125, 126)]
        tokens, special = rows.tokens(torch.arange(len(rows))), rows.special(torch.arange(len(rows)))
        assert tokens.tolist() == pieces
        assert rows.valid(torch.arange(len(rows))) is None, "no padding"
        assert special is not None
        assert torch.equal(special, (tokens == cls) | (tokens == sep))
