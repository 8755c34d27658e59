"""Evidence and known models with plain numbers, for tests of calibration and verdict."""

import torch

from uddm_lightning.audit.calibration import GENERALIZING, IN_TRANSITION, MEMORIZING, NOT_LEARNED, REGIMES
from uddm_lightning.audit.known_models import KnownModel
from uddm_lightning.audit.own_samples import Evidence
from uddm_lightning.audit.probe import Probed
from uddm_lightning.audit.verdict import Facts, judge_evidence

CONTEXT = {MEMORIZING: 0.05, IN_TRANSITION: 0.45, GENERALIZING: 0.7, NOT_LEARNED: 0.97}
OVERCONFIDENCE = {MEMORIZING: 0.9, IN_TRANSITION: 0.45, GENERALIZING: 0.1, NOT_LEARNED: 0.02}

FACTS = Facts(27, 32, 200_000, "UniformProcess")


def evidence(context=0.7, overconfidence=0.1, **more):
    values = {
        "samples": 256,
        "entropy": 2.0 * context,
        "nll": 2.0,
        "entropy_leave_one_out": 1.9 * context,
        "vanishing": max(0.0, 1.0 - context) ** 3,
        "entropy_shuffled": 1.5,
        "entropy_random": 1.75,
        "entropy_spliced": 2.0 * (1 - overconfidence),
        "nll_spliced": 2.0,
        "largest_entropy": 3.0,
        "unigram_entropy": 2.0,
        "ngram_entropy": 1.8,
        "duplicates": 0.0,
        "near_duplicates": 0.0,
        "entropy_near_duplicates": float("nan"),
        "leak": 0.05,
        "curve": tuple(2.0 * context * (1 + k / 10) for k in range(5)),
    }
    return Evidence(**values | more)


def known(regime=GENERALIZING, context=0.7, overconfidence=0.1, sweep="one", **more):
    values = {
        "sweep": sweep,
        "run": "DiT-n8-s0",
        "step": 100,
        "train_size": 8,
        "regime": regime,
        "train_recovery": 0.5,
        "test_recovery": 0.25,
        "text": "SotuSpeeches, CharacterTokenizer",
        "process": "UniformProcess",
        "backbone": "DiT",
        "vocab_size": 27,
        "length": 32,
        "parameters": 200_000,
        "evidence": evidence(context, overconfidence),
    }
    return KnownModel(**values | more)


def separable(number=6):
    """Models of two sweeps whose regimes lie apart."""
    return [
        known(regime, CONTEXT[regime] + 0.01 * k, OVERCONFIDENCE[regime] + 0.01 * k, sweep="ab"[k % 2], step=k)
        for regime in REGIMES
        for k in range(number)
    ]


def probed(calibration, step=7, context=0.05, overconfidence=0.9):
    """Return the result of a probe of a model with given evidence, without a text."""
    found = evidence(context, overconfidence)
    verdict = judge_evidence(found, calibration, FACTS)
    model = {"path": "runs/a", "step": step, "weights": "ema", "checkpoint": "abc"}
    tokens = torch.arange(12).view(2, 6)
    return Probed(model, FACTS, [], verdict, found, None, calibration, tokens, tokens.double() / 12, None)
