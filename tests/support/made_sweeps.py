"""Tables and transition.json of a made-up sweep."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.support.probes import DECLARED
from uddm_lightning.results.tables import SEQUENCES, Record, read_table, update_table
from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.regimes import Evidence, judge

SIZES = (2, 8, 32, 128, 512, 2048, 8192)
TIMES = (0.05, 0.1, 0.25, 0.5)
ALPHABET = "abcdefghijklmnopqrstuvwxyz "
STAR = 64.0
COINCIDENCE = 0.0756


def memorized(size: int, star: float = STAR) -> float:
    """Return the memorized share of the training rows at a size, from 1 to 0."""
    return 1 / (1 + (size / star) ** 2)


def recovery(size: int, t: float, split: str, star: float = STAR, seed: int = 0) -> float:
    """Return the recovery of such a model on a split."""
    noise = 0.01 * math.sin(7 * seed + math.log(size))
    test = 0.1 + 0.01 * math.log2(size) / (1 + t)
    return min(test + (split == "train") * (0.99 - test) * memorized(size, star) + noise, 1.0)


def measurements(
    folder: Path,
    sizes: Sequence[int] = SIZES,
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = ("DiT",),
    kinds: Iterable[str] = ("recovery", "entropy", "nelbo", "nelbo_extrapolated", "samples"),
    splits: Iterable[str] = ("train", "test", "samples"),
) -> list[dict[str, str]]:
    """Return rows of a sweep's table, written and read by the functions of the package."""
    path = folder / "measurements.csv"
    records = [
        record
        for index, backbone in enumerate(backbones)
        for size in sizes
        for seed in seeds
        for step in (100, 200)
        for record in _run(backbone, 1000 * 10**index, STAR * 4**index, size, seed, step)
        if record["metric"] in set(kinds) and record["split"] in set(splits)
    ]
    update_table(path, records, columns=DECLARED.columns)
    return read_table(path)


def with_oracle(rows: list[Record]) -> list[Record]:
    """Add the rows of an oracle, measured at the largest size, where every value is 0.625."""
    best = [
        {**row, "backbone": "MarkovBackbone", "run": "best", "parameters": "0", "step": "0", row["metric"]: "0.625"}
        for row in rows
        if row["train_size"] == str(SIZES[-1]) and row["step"] == "200"
    ]
    return [*rows, *best]


def _run(backbone: str, parameters: int, star: float, size: int, seed: int, step: int) -> list[Record]:
    held, noise = memorized(size, star), 0.01 * math.sin(7 * seed + math.log(size))
    common = {
        "run": f"{backbone}-n{size}-s{seed}",
        "backbone": backbone,
        "parameters": parameters,
        "train_size": size,
        "seed": seed,
        "step": step,
        "weights": "ema",
        "sampler": "ancestral",
        "n_rows": min(size, 64),
        "n_draws": 64,
    }
    found: list[Record] = []
    for t in TIMES:
        for split in ("train", "test"):
            value, before = recovery(size, t, split, star, seed), 0.96 * t
            fields = {
                "split": split,
                "t": t,
                "recovery": value,
                "recovery_low": max(value - 0.01, 0.0),
                "recovery_high": min(value + 0.01, 1.0),
                "chance": 0.02 + 0.05 * t,
                "coincidence": COINCIDENCE,
                "errors_before": before,
                "errors_after": before * (1 - value) + (1 - before) * 0.05,
                "clean_change_rate": 0.05,
                "sampler_steps": 50,
            }
            found.append({**common, "metric": "recovery", **fields})
        for split, share in (("train", 1.0), ("test", 0.5), ("samples", 0.9)):
            value = (1.7 + t) * (1 - share * held) + noise + 0.02
            fields = {
                "split": split,
                "t": t,
                "entropy": value,
                "entropy_low": value - 0.02,
                "entropy_high": value + 0.02,
                "self_token_influence": 0.08 * t,
            }
            found.append({**common, "metric": "entropy", **fields})
    for split, memorized_rows in (("samples", round(64 * held)), ("test", 0)):
        spurious = round(20 * held * (1 - held)) if split == "samples" else 0
        value = 4.0 if split == "test" else 4.0 + 20 * held * (1 - held) + noise
        fields = {
            "split": split,
            "sampler": "ancestral" if split == "samples" else "",
            "critic": "5-gram",
            "n_rows": 64,
            "n_memorized": memorized_rows,
            "n_spurious": spurious,
            "n_novel": 64 - memorized_rows - spurious,
            "novel_perplexity": value + 1 if split == "samples" and held < 0.9 else None,
            "generative_perplexity": value,
            "generative_perplexity_low": value - 0.5,
            "generative_perplexity_high": value + 0.5,
            "unigram_entropy": 2.5 - 0.1 * held,
            "nearest_distance": 0.7 * (1 - held),
            "nearest_overlap": held,
            "train_overlap": 0.5 + 0.5 * held,
        }
        found.append({**common, "metric": "samples", **fields})
    for split, value in (("train", 2.1 - 1.8 * held), ("test", 2.1 + 4 * held)):
        for kind, t_min, more in (("nelbo", 0.05, 0.0), ("nelbo_extrapolated", 0.001, 0.4)):
            bounds = {"nelbo": value + more, "nelbo_low": value + more - 0.1, "nelbo_high": value + more + 0.1}
            fields = {"split": split, "t_min": t_min, "t_max": 1.0, "pool_unigram_entropy": 2.85, **bounds}
            found.append({**common, "metric": kind, "sampler": "", **fields})
    return found


def sequences(
    sizes: Sequence[int] = SIZES,
    backbones: Sequence[str] = ("DiT",),
    splits: Iterable[str] = ("train", "test"),
    alphabet: Sequence[str] = ALPHABET,
) -> pa.Table:
    """Return restored sequences of a sweep with the text of every token; subsets are nested."""
    fields = [("run", pa.string()), ("backbone", pa.string()), ("train_size", pa.int64()), ("seed", pa.int64())]
    texts = [(f"{name}_text", pa.list_(pa.string())) for name in ("x0", "xt", "xhat")]
    schema = pa.schema([*fields, *((f.name, f.type) for f in SEQUENCES if not f.name.endswith("_text")), *texts])
    rows = []
    for backbone in backbones:
        for size in sizes:
            run = {"run": f"{backbone}-n{size}-s0", "backbone": backbone, "train_size": size, "seed": 0}
            for split in splits:
                for t in TIMES:
                    for draw in range(8):
                        row = _sequence(size, split, t, draw, len(alphabet))
                        text = {f"{name}_text": [alphabet[i] for i in row[name]] for name in ("x0", "xt", "xhat")}
                        rows.append({**run, "split": split, "step": 200, "weights": "ema", "t": t, **row, **text})
    return pa.Table.from_pylist(rows, schema=schema)


def _sequence(size: int, split: str, t: float, draw: int, vocabulary: int) -> Record:
    row_id = draw % size + 100 * (split == "test")
    source = np.random.default_rng([row_id])
    x0 = source.integers(vocabulary, size=32)
    noise = np.random.default_rng([row_id, draw, int(100 * t)])  # depends on row and draw, not on the run
    xt = np.where(noise.random(32) < t, noise.integers(vocabulary, size=32), x0)
    luck = np.random.default_rng([row_id, draw, size])
    right = luck.random(32) < (memorized(size) if split == "train" else 0.2)
    broken = luck.random(32) < 0.05
    xhat = np.where((xt != x0) & right, x0, np.where(broken, luck.integers(vocabulary, size=32), xt))
    entropy = np.where(right, 0.05, 1.5) * luck.random(32)
    values = {"x0": x0, "xt": xt, "xhat": xhat, "entropy": entropy}
    chain = {"sampler": "ancestral", "sampler_steps": 50}
    return {"row_id": row_id, **chain, **{name: value.tolist() for name, value in values.items()}}


def transition(
    backbones: Sequence[str] = ("DiT",), null: bool = False, sizes: Sequence[int] = SIZES, falling: bool = False
) -> dict[str, object]:
    """Return the content of transition.json; with `null`, without transition sizes."""
    found, headlines = {}, {}
    for index, backbone in enumerate(backbones):
        star = STAR * 4**index
        numbers = {"n_mem": around(star / 8), "n_gen": around(star * 8), "n_half": around(star)}
        estimates = [
            {
                "method": method,
                "t": t,
                **dict.fromkeys(numbers),
                **({} if null else numbers if method == "recovery" else {"n_half": numbers["n_half"]}),
                "reasons": _reasons(method, null),
                "deviance_per_df": None if null else 1.2,
                "plateau": None if null else 0.89,
                "floor": None if null else 0.0,
                "shape": None if null else {"crossing": math.log(star), "width": 0.5, "kappa": 1.0, "tail": 0.0},
                "sizes": [_size(size, t, method, star) for size in sizes],
            }
            for method in ("recovery", "entropy", "entropy_samples")
            for t in TIMES
        ]
        trend = [{"t": t, "slope": None if null else 0.02, "low": 0.01, "high": 0.03} for t in TIMES]
        agreement = [] if null else [_agreement(star)]
        regimes = [regime(size, star, falling) for size in sizes]
        found[backbone] = {
            "parameters": 1000,
            "seeds": [0],
            "estimates": estimates,
            "regimes": regimes,
            "trend": trend,
            "agreement": agreement,
        }
        if not null:
            headline = {"method": "recovery", "t": 0.1, "estimate": "n_half", **numbers["n_half"], "qualifier": ""}
            headlines[backbone] = headline
    note = "One seed: the intervals cover the sampling of sequences only."
    return {"backbones": found, "headline": headlines, "notes": [note]}


def around(value: float) -> dict[str, float]:
    """Return a transition size with its interval."""
    return {"value": value, "low": value / 1.3, "high": value * 1.3}


def _agreement(star: float) -> dict[str, object]:
    sizes = {"t": 0.1, "recovery": star, "entropy": star, "overlap": True}
    return {**sizes, "ratio": 1.0, "low": 0.8, "high": 1.2, "agree": True, "reason": None}


def _reasons(method: str, null: bool) -> dict[str, str]:
    if null:
        return dict.fromkeys(("n_mem", "n_gen", "n_half"), "the curve is flat")
    return {} if method == "recovery" else dict.fromkeys(("n_mem", "n_gen"), "defined for recovery alone")


def gap(size: int, t: float, star: float = STAR) -> Interval:
    """Return train minus test recovery with its interval."""
    value = recovery(size, t, "train", star) - recovery(size, t, "test", star)
    return Interval(value, value - 0.01, value + 0.01)


def _size(size: int, t: float, method: str, star: float) -> dict[str, object]:
    share = {"entropy": 1.0, "entropy_samples": 0.9}.get(method)
    value = gap(size, t, star).value if share is None else (1.7 + t) * (1 - share * memorized(size, star)) + 0.02
    inside = abs(value) + 0.01 < 0.02
    numbers = {"train_size": size, "value": value, "low": value - 0.01, "high": value + 0.01, "sigma": 0.005}
    return {**numbers, "equivalent": inside if inside or value > 0.03 else None, "draws_needed": None}


def regime(size: int, star: float = STAR, falling: bool = False) -> dict[str, object]:
    """Return the entry of a size, with the regime by the rules of the package."""
    sides = {split: recovery(size, 0.1, split, star) for split in ("train", "test")}
    known = {split: Interval(value, value - 0.01, min(value + 0.01, 1.0)) for split, value in sides.items()}
    nelbo = 2.1 + 4 * memorized(size, star)
    seen = Evidence(known["train"], known["test"], gap(size, 0.1, star), COINCIDENCE, nelbo, 2.85, falling, 64)
    found = judge(seen)
    return {
        "train_size": size,
        "regime": found.name,
        "qualifiers": list(found.qualifiers),
        "reason": found.reason,
        "draws_needed": found.draws_needed,
        **{name: interval._asdict() for name, interval in (*known.items(), ("gap", gap(size, 0.1, star)))},
        "coincidence": COINCIDENCE,
        "chance": 0.025,
        "nelbo": nelbo,
        "unigram_entropy": 2.85,
        "by_seed": [{"seed": 0, "regime": found.name}],
    }
