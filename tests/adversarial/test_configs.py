"""Every number outside its range is refused with its key and value, or has a documented meaning."""

import copy
import math
import shutil
import string
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import yaml
from lightning.pytorch.loops.fit_loop import _FitLoop

from tests.adversarial.conftest import Home, one_message, uddm
from tests.adversarial.fields import Field, fields
from tests.support.command_line import tiny_config
from uddm_lightning.cli.lightning import UddmCLI
from uddm_lightning.config.ranges import LARGEST, check_numbers
from uddm_lightning.core.errors import InputError

WRONG: list[Any] = [-1, 0, -0.5, math.nan, math.inf, 1e308, 10**30, "many", None, [], {}, True]


def whole(smallest: int, largest: float = 2**32, null: bool = False) -> Callable[[Any], bool]:
    def legal(value: Any) -> bool:
        if value is None:
            return null
        return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest

    return legal


def real(inside: Callable[[float], bool], null: bool = False) -> Callable[[Any], bool]:
    def legal(value: Any) -> bool:
        if value is None:
            return null
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and abs(value) < 1e38 and inside(value)

    return legal


def times(value: Any) -> bool:
    number = real(lambda t: 0 < t <= 1)
    return isinstance(value, list) and bool(value) and all(map(number, value))


share = real(lambda x: 0 <= x <= 1)
part = real(lambda x: x == 1.0 and isinstance(x, float), null=True)  # the stream has no fraction: all of it
draws = whole(1, null=True)

# Valid values of every field, independent of the package. A field that is missing here fails the test, so every new
# number needs a range.
LEGAL: dict[str, Callable[[Any], bool]] = {
    "threads": whole(1, 1024),
    "seed_everything": whole(0),
    "data.train_size": lambda value: whole(1, 1022)(value) or (isinstance(value, float) and 0 < value <= 1),
    "data.batch_size": whole(1),
    "data.canaries": lambda value: value is None or (isinstance(value, list) and all(map(whole(0), value))),
    "data.eval_batch_size": whole(1),
    "data.num_train_rows": whole(1),
    "data.num_test_rows": whole(1),
    "data.num_sample_rows": whole(0),
    "data.num_random_rows": whole(0),
    "data.test_fraction": real(lambda x: 0 < x < 1),
    "data.num_workers": whole(0, 1024),
    "model.ema_decay": real(lambda x: 0 <= x < 1),
    "model.predict_t": real(lambda t: 0 < t <= 1),
    "recovery.times": times,
    "recovery.num_rows": draws,
    "recovery.num_rows_during_training": whole(0, null=True),
    "recovery.num_reference_rows": draws,
    "entropy.times": times,
    "entropy.num_rows": draws,
    "entropy.num_rows_during_training": whole(0, null=True),
    "nelbo.t_min": real(lambda t: 0 < t < 1, null=True),
    "nelbo.t_max": real(lambda t: 0.02 < t <= 1, null=True),
    "nelbo.times_per_row": whole(1),
    "nelbo.num_rows": draws,
    "nelbo.num_rows_during_training": whole(0, null=True),
    "basin.times": times,
    "basin.repeats": whole(1),
    "basin.tolerance": real(lambda x: 0 <= x < 1),
    "basin.num_rows": draws,
    "basin.num_rows_during_training": whole(0, null=True),
    "trajectory.num_points": whole(2),
    "trajectory.num_rows": draws,
    "trajectory.num_rows_during_training": whole(0, null=True),
    "samples.num_rows": draws,
    "samples.num_rows_during_training": whole(0, null=True),
    "samples.memorized_within": real(lambda x: 0 <= x < 1),
    "samples.spurious_within": real(lambda x: 0 <= x < 1),
    "samples.ngram": whole(1),
    "NgramCritic.order": whole(1),
    "NgramCritic.num_rows": whole(1),
    "HeldOutNgramCritic.order": whole(1),
    "HeldOutNgramCritic.num_rows": whole(1),
    "HubCritic.batch_size": whole(1),
    "trainer.devices": whole(1),
    "trainer.num_nodes": whole(1),
    "trainer.fast_dev_run": lambda value: value is True or whole(0)(value),
    "trainer.max_epochs": whole(-1, -1, null=True),
    "trainer.min_epochs": whole(0, 0, null=True),
    "trainer.max_steps": lambda value: value != 0 and whole(-1)(value),
    "trainer.min_steps": whole(0, null=True),
    "trainer.limit_train_batches": part,
    "trainer.limit_val_batches": part,
    "trainer.limit_test_batches": part,
    "trainer.limit_predict_batches": part,
    "trainer.overfit_batches": real(lambda x: x == 0),
    "trainer.val_check_interval": whole(1, null=True),
    "trainer.check_val_every_n_epoch": lambda value: value is None,
    "trainer.num_sanity_val_steps": whole(-1, null=True),
    "trainer.log_every_n_steps": whole(0, null=True),
    "trainer.accumulate_grad_batches": whole(1),
    "trainer.gradient_clip_val": real(lambda x: 0 <= x < 2**32, null=True),
    "trainer.reload_dataloaders_every_n_epochs": whole(0, 0),
    "MarkovSource.num_documents": whole(2),
    "MarkovSource.length": whole(1),
    "MarkovSource.sharpness": real(lambda x: 0 <= x <= 50),
    "MarkovSource.seed": whole(0),
    "SpinPatterns.num_documents": whole(2),
    "SpinPatterns.length": whole(2),
    "SpinPatterns.num_features": whole(3, null=True),
    "SpinPatterns.num_active": lambda value: whole(1, 16)(value) and value % 2 == 1,
    "SpinPatterns.seed": whole(0),
    "BPETokenizer.vocab_size": whole(260),
    "PretrainedTokenizer.vocab_size": whole(57, 57 + 2**16, null=True),
    "WordPieceTokenizer.vocab_size": whole(5),
    "DocumentPacking.length": whole(2),
    "WrappedPacking.length": whole(2),
    "CosineSchedule.eps": real(lambda x: 0 < x < 1),
    "LogLinearSchedule.eps": real(lambda x: 0 < x < 1),
    "PseudoLikelihoodMemory.length": whole(16, 16),
    "HebbMemory.beta": real(lambda x: 0 < x < 1e6),
    "PseudoInverseMemory.beta": real(lambda x: 0 < x < 1e6),
    "DenseAssociativeMemory.degree": whole(2),
    "DenseAssociativeMemory.beta": real(lambda x: 0 < x < 1e6),
    "GiddTransformer.hidden_size": whole(1),
    "GiddTransformer.n_blocks": whole(1),
    "GiddTransformer.n_heads": whole(1),
    "GiddTransformer.mlp_size": whole(1),
    "GiddTransformer.soft_cap": real(lambda x: x > 0),
    "GiddTransformer.residual_scale": real(lambda x: True),
    "GiddTransformer.weight_scale": real(lambda x: True, null=True),
    "GiddTransformer.head_scale": real(lambda x: True),
    "GiddTransformer.rope_base": real(lambda x: x > 0),
    "GiddTransformer.norm_eps": real(lambda x: x > 0),
    "HollowTransformer.hidden_size": whole(1),
    "HollowTransformer.n_blocks": whole(1),
    "HollowTransformer.n_heads": whole(1),
    "HollowTransformer.cond_dim": whole(1),
    "HollowTransformer.window": whole(1),
    "HollowTransformer.mlp_ratio": whole(1),
    "HollowTransformer.dropout": real(lambda x: 0 <= x < 1),
    "HollowTransformer.embedding_init_std": real(lambda x: x > 0, null=True),
    "DiT.hidden_size": whole(1),
    "DiT.n_blocks": whole(1),
    "DiT.n_heads": whole(1),
    "DiT.cond_dim": whole(1),
    "DiT.dropout": real(lambda x: 0 <= x < 1),
    "DiT.embedding_init_std": real(lambda x: x > 0, null=True),
    "DiT.gate_init": real(lambda x: True),
    "DenoisingCrossEntropy.t_min": real(lambda t: 0 < t < 1),
    "DenoisingCrossEntropy.t_max": real(lambda t: 0.001 < t <= 1),
    "DuoCurriculum.t_min": real(lambda t: 0 < t < 1),
    "DuoCurriculum.t_max": real(lambda t: 0.001 < t <= 1),
    "DuoCurriculum.tau": real(lambda tau: 0 < tau < 0.01),
    "DuoCurriculum.gamma_min": real(lambda gamma: -4 < gamma < 1, null=True),
    "DuoCurriculum.gamma_max": real(lambda gamma: -2 < gamma < 5, null=True),
    "DuoCurriculum.start_step": whole(0, 499_999),
    "DuoCurriculum.end_step": whole(1),
    "DuoCurriculum.top_k": whole(2),
    "HybridProcess.p_uniform": real(lambda p: 0 <= p < 1),
    "LeaveOneOutCrossEntropy.t_min": real(lambda t: 0 < t < 1),
    "LeaveOneOutCrossEntropy.t_max": real(lambda t: 0.001 < t <= 1),
    "NELBO.t_min": real(lambda t: 0 < t < 1),
    "NELBO.t_max": real(lambda t: 0.02 < t <= 1),
    "ReweightedNELBO.t_min": real(lambda t: 0 < t < 1),
    "ReweightedNELBO.t_max": real(lambda t: 0.001 < t <= 1),
    "AncestralSampler.steps": whole(1),
    "AncestralSampler.temperature": real(lambda x: 0 < x < 1e6),
    "PredictorCorrectorSampler.corrections": whole(1),
    "PredictorCorrectorSampler.steps": whole(1),
    "SpinDynamics.steps": whole(1),
    "SpinDynamics.temperature": real(lambda x: 0 <= x < 1e6),
    "WarmupConstant.warmup_steps": whole(0),
    "WarmupLinear.warmup_steps": whole(0),
    "WarmupLinear.min_lr_ratio": share,
    "AdamW.lr": real(lambda x: x >= 0),
    "AdamW.betas": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(real(lambda x: 0 <= x < 1), value))
    ),
    "AdamW.eps": real(lambda x: x >= 0),
    "AdamW.weight_decay": real(lambda x: x >= 0),
}


# PyTorch's optimizers use their own words for arguments
WORDS = {"lr": "learning rate", "betas": "beta parameter", "eps": "epsilon value"}


def cases() -> Iterator[tuple[Field, Any]]:
    """Return all fields with all invalid values; a list of numbers is also tried with one valid value."""
    for field in fields():
        for value in WRONG:
            yield field, value
            if field.listed and not isinstance(value, list):
                yield field, [0.9, value]


def test_every_number_of_a_config_has_a_range_here() -> None:
    assert {field.name for field in fields()} == LEGAL.keys()


def with_value(home: Home, field: Field, value: Any) -> Path:
    """Return a valid config with one invalid field."""
    content = tiny_config(home.folder / "corpus.txt")
    node = content
    if field.slot:
        for key in field.slot[:-1]:
            node = node.setdefault(key, {})
        before = node.get(field.slot[-1], {}).get("class_path", "")
        if field.class_path.rpartition(".")[2] != before.rpartition(".")[2]:
            node[field.slot[-1]] = {"class_path": field.class_path, "init_args": {}}
    if field.name.startswith("ReweightedNELBO."):
        content["model"]["process"]["class_path"] = "HybridProcess"  # the objective supports no other
    if field.name.startswith("PretrainedTokenizer."):
        vocabulary = home.folder / "vocab.txt"
        pieces = [f"{prefix}{letter}" for letter in string.ascii_lowercase for prefix in ("", "##")]
        vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]), encoding="utf-8")
        content["data"]["tokenizer"]["init_args"]["path"] = str(vocabulary)
    node = content
    for key in field.path[:-1]:
        node = node.setdefault(key, {})
    node[field.path[-1]] = copy.deepcopy(value)
    path = home.folder / "wrong.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ready(home: Home) -> Iterator[Home]:
    """End training before its first step, and create the parser once, because it takes half of the time."""
    made: dict[str, Any] = {}
    names = ("parser", "_subcommand_parsers", "_subcommand_method_arguments")
    setup = UddmCLI.setup_parser

    def setup_once(self: UddmCLI, *arguments: Any) -> None:
        if not made:
            setup(self, *arguments)
            made.update({name: getattr(self, name) for name in names})
        vars(self).update(made)

    def end(loop: _FitLoop) -> None:
        raise StopIteration

    parser, loop = patch.object(UddmCLI, "setup_parser", setup_once), patch.object(_FitLoop, "advance", end)
    with parser, loop, patch.object(torch, "set_num_threads"):
        yield home


def shown(value: Any) -> tuple[str, ...]:
    """Return the ways in which a message may write a value."""
    if isinstance(value, list) and value:
        return shown(value[-1])
    ways = {str(value), repr(value)}
    if isinstance(value, int | float) and not isinstance(value, bool):
        ways |= {str(float(value)), repr(float(value))}
    return tuple(ways)


def check(home: Home, field: Field, value: Any) -> None:
    out = home.folder / "wrong"
    shutil.rmtree(out, ignore_errors=True)
    outcome = uddm("fit", "-c", with_value(home, field, value), "--out", out)
    if LEGAL[field.name](value):
        assert outcome.status == 0, f"{field.name} may be {value!r}: {outcome.err}"
        return
    assert outcome.status == 2, f"{field.name} = {value!r} was accepted"
    message = one_message(outcome)
    assert field.path[-1] in message or WORDS.get(field.path[-1], "?") in message or value == [0.9, {}], message
    if field.path[0] != "trainer" and field.slot[-1:] != ("optimizer",):  # messages of Lightning and PyTorch
        assert any(way in message for way in shown(value)), message
    assert {path.name for path in out.rglob("*")} <= {"run.lock"}


EVERY = list(cases())
# Together they hold every field and every value, each value with other fields. All cases are a bar of some minutes.
FAST = EVERY[::29]
SLOW = [
    (field, value)
    for number, (field, cases_of_it) in enumerate(groupby(EVERY, key=itemgetter(0)))
    for place, (_, value) in enumerate(cases_of_it)
    if place == 5 * number % len(WRONG) or (isinstance(value, list) and place % 3 == number % 3)
]


def test_every_field_and_every_value_is_tried() -> None:
    tried = FAST + SLOW
    assert {field.name for field, _ in tried} == LEGAL.keys()
    assert {repr(value) for _, value in tried} == {repr(value) for _, value in EVERY}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Lightning warns about unusual values
@pytest.mark.parametrize("number", range(len(FAST)), ids=lambda number: f"{FAST[number][0].name}={FAST[number][1]!r}")
def test_a_wrong_number_is_refused_by_name(ready: Home, number: int) -> None:
    check(ready, *FAST[number])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # as above
@pytest.mark.parametrize(
    "chosen",
    [
        *(SLOW[share::4] for share in range(4)),
        pytest.param(EVERY, marks=[pytest.mark.bar, pytest.mark.timeout(3600)]),
    ],
    ids=range(5),
)
def test_many_wrong_numbers_are_refused_by_name(ready: Home, chosen: list[tuple[Field, Any]]) -> None:
    failures = []
    for field, value in chosen:
        try:
            check(ready, field, value)
        except Exception as error:  # report all failures and not only the first
            failures.append(f"{field.name} = {value!r}: {type(error).__name__}: {str(error)[:300]}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("a.b", math.nan, "`a.b` is nan; give a finite number"),
        ("a.b", [0.5, -math.inf], "`a.b` is -inf; give a finite number"),
        ("a.b", LARGEST + 1, "`a.b` is 4294967296, and no whole number here is larger than 4294967295"),
        ("threads", 1025, "`threads` must be from 1 to 1024, got 1025"),
        ("trainer.max_steps", 0, "`trainer.max_steps` is 0, which trains nothing"),
        ("trainer.val_check_interval", {"minutes": 3}, "would depend on the clock; give a number of micro-batches"),
    ],
)
def test_a_value_that_is_no_number_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_numbers({key: value})
    check_numbers({"trainer.max_steps": -1, "trainer.val_check_interval": None, "a": LARGEST, "b": True, "c": [1e38]})
