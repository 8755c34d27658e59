"""Every shipped config in every precision, fused, clipped and compiled or not: trains, or is refused in one message."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from tests.support import standins
from tests.support.standins import CONFIGS, as_options, short, standin
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.trainer_section import check_precision
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import TextDataModule
from uddm_lightning.probes import EntropyProbe, NelboProbe, RecoveryProbe
from uddm_lightning.runs.instantiate import build_data, build_task

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
SMALL_DIT = (
    *("--model.backbone.init_args.hidden_size", "16", "--model.backbone.init_args.n_blocks", "1"),
    *("--model.backbone.init_args.n_heads", "2", "--model.backbone.init_args.cond_dim", "8"),
)
SMALL = (  # as `standins.SMALL`, without the sampler and for any process
    *("--model.sampler.init_args.steps", "2", "--data.train_size", "4", "--data.batch_size", "4"),
    *("--data.eval_batch_size", "4", "--data.num_train_rows", "4", "--data.num_test_rows", "4"),
    *("--data.num_sample_rows", "0", "--data.num_random_rows", "0", "--trainer.accelerator", "cpu", "--threads", "1"),
)
STEPS = 2
PLAIN, FUSED_AND_CLIPPED = (False, None), (True, 1.0)
COMPILED = ("bf16-mixed", True, None)
# Precision, fused or not, clipped or not: the quickstart trains with every pair of two of them.
COMBINATIONS = [
    *((precision, *way) for precision in PRECISIONS for way in (PLAIN, FUSED_AND_CLIPPED)),
    *(("32-true", True, None), ("bf16-true", False, 1.0), COMPILED),
]


def combinations(path: Path) -> list[tuple[str, bool, float | None]]:
    """Return what a config is trained with: each precision, and once compiled. Every second config has each precision
    fused and clipped, so that every kind of config meets both.
    """
    if path.stem == "quickstart":
        return COMBINATIONS
    ways = (PLAIN, FUSED_AND_CLIPPED)
    number = [one for one in CONFIGS if one.stem not in SAME].index(path)
    return [*((precision, *ways[(turn + number) % 2]) for turn, precision in enumerate(PRECISIONS)), COMPILED]


# Configs that differ from another one in what `SMALL` replaces, or in what trains it.
SAME = {
    **dict.fromkeys(("hidden32", "hidden96"), "quickstart"),
    **dict.fromkeys(("lm1b_tiny", "lm1b_medium", "slurm", "torchrun"), "lm1b_small"),
}
BY_NAME = {path.stem: path for path in CONFIGS}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write sentences like those of the stand-ins, for the configs that train on speeches."""
    path = tmp_path_factory.mktemp("text") / "speeches.txt"
    path.write_text("\n".join(standins._sentences(900, 0)), encoding="utf-8")
    return path


def resolved(path: Path, folder: Path, text: Path) -> dict[str, Any]:
    words = [str(word) for word in as_options(path)]
    values = resolve(words).values
    if values["model"]["backbone"]["class_path"].endswith("DiT"):
        words += SMALL_DIT
    if values["data"]["source"]["class_path"].endswith("SotuSpeeches"):
        words += ["--data.source", "TextFiles", "--data.source.init_args.paths", str(text)]
    return resolve([*words, *standin(path, folder), *SMALL, "--data.cache_dir", str(folder / "cache")]).values


def trainer_of(config: dict[str, Any], folder: Path, precision: str, clip: float | None, probes: list[Any]) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        precision=precision,
        gradient_clip_val=clip,
        gradient_clip_algorithm=config["trainer"]["gradient_clip_algorithm"],
        max_steps=STEPS,
        max_epochs=-1,
        val_check_interval=STEPS,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if probes else 0,
        use_distributed_sampler=False,
        callbacks=probes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of settings that only a test has
@pytest.mark.parametrize(
    "path",
    [
        path if path.stem == "quickstart" else pytest.param(path, marks=pytest.mark.slow)
        for path in CONFIGS
        if path.stem not in SAME
    ],
    ids=short,
)
def test_every_precision_trains_or_is_refused(
    path: Path, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # graphs and gradients of the compiler without its code for the CPU, which takes most of the time
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    config = resolved(path, tmp_path, text)
    data: TextDataModule = build_data(config)
    optimizer = config["model"]["optimizer"]
    losses: dict[tuple[str, bool, float | None], float] = {}
    for precision, fused, clip in combinations(path):
        optimizer["init_args"] |= {"eps": 1e-4 if precision == "16-true" else 1e-8}
        if optimizer["class_path"].startswith("torch."):  # the other optimizers have one implementation
            optimizer["init_args"] |= {"fused": fused, "foreach": None}
        config["model"]["compile"] = (precision, fused, clip) == COMPILED
        task = build_task(config, data.vocab_size)
        if precision == "16-mixed":
            with pytest.raises(InputError, match=r"`--trainer\.precision bf16-mixed`"):
                check_precision(precision, on_cpu=True)
            continue
        measured = fused and clip is not None
        probes = [RecoveryProbe((0.1,)), EntropyProbe((0.1,)), NelboProbe(times_per_row=2)] if measured else []
        before = [parameter.clone() for parameter in task.backbone.parameters()]
        task.check_optimizer(precision)
        trainer = trainer_of(config, tmp_path, precision, clip, probes)
        trainer.fit(task, data)
        assert trainer.global_step == STEPS
        assert task.compiler.is_active == config["model"]["compile"]
        after = list(task.backbone.parameters())
        assert any(not torch.equal(one.to(other.dtype), other) for one, other in zip(before, after, strict=True))
        assert all(bool(parameter.isfinite().all()) for parameter in after)
        assert all(probe.records for probe in probes)
        losses[precision, fused, clip] = float(trainer.callback_metrics["loss/train"])
    assert {key[0] for key in losses} == set(PRECISIONS) - {"16-mixed"}
    exact = next(loss for (precision, _, _), loss in losses.items() if precision == "64-true")
    for (precision, _, _), loss in losses.items():
        assert loss == pytest.approx(exact, rel=0.06 if "16" in precision else 1e-4), precision  # spins: 5.3 %


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_the_other_configs_equal_one_of_these(name: str, tmp_path: Path, text: Path) -> None:
    config, other = (resolved(BY_NAME[one], tmp_path, text) for one in (name, SAME[name]))
    assert config["model"] == other["model"]
    assert config["trainer"]["gradient_clip_algorithm"] == other["trainer"]["gradient_clip_algorithm"]


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of settings that only a test has
def test_float16_refuses_values_that_underflow(uddm, config, tmp_path) -> None:
    given = ("fit", "-c", config, "--out", tmp_path / "run", "--trainer.precision", "16-true")
    outcome = uddm(*given)
    assert outcome.status == 2
    assert "`eps` of `model.optimizer`, 1e-08, is 0" in outcome.err
    assert not (tmp_path / "run" / "measurements.csv").exists()
    outcome = uddm(*given, "--model.optimizer.init_args.eps", "1e-4")
    assert outcome.status == 0, outcome.err
