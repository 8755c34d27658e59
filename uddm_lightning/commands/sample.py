"""The command `uddm sample`."""

import platform
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tqdm import tqdm

from uddm_lightning import __version__
from uddm_lightning.config.parser import CommandParser
from uddm_lightning.config.ranges import LARGEST
from uddm_lightning.core.errors import InputError
from uddm_lightning.critics import NgramCritic
from uddm_lightning.data.subset import Subset
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.metrics.neighbours import NEAR, NGRAM
from uddm_lightning.probes.train_comparison import TrainComparison
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.load import LoadedModel
from uddm_lightning.sampling.drawing import SamplingJob, together, work
from uddm_lightning.sampling.shards import ROWS, about, batches

EPILOG = """\
Sample i is a function of weights, seed and i alone. The same command goes on where it was stopped, a larger -n goes on
from there, and the same command on another machine that sees the file shares the work. Nothing of the training data is
needed; where the run's prepared text lies in the cache, samples are written as text, too.
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm sample", description="Draws rows from a trained model into a parquet file.", epilog=EPILOG
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="CONFIG", help="the run's config.yaml")
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="checkpoint; default: the run's last one")
    parser.add_argument("-n", type=int, required=True, metavar="K", help="number of samples")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="parquet file to write")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument("--seed", type=int, help="of the samples; default: the run's, which draws what its probes saw")
    parser.add_argument("--steps", type=int, help="steps of the chain; default: the run's")
    parser.add_argument("--batch_size", type=int, default=64, metavar="B", help="drawn together, which no sample shows")
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="that draw on this machine")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    parser.add_argument(
        "--against",
        action="store_true",
        help="compare the samples with the run's training rows, which must lie prepared in the cache",
    )
    return parser


def sample(arguments: list[str]) -> int:
    """Runs `uddm sample`; returns its exit status.

    Raises:
        InputError: the arguments, the config, the checkpoint or the file are wrong.
    """
    given = _parser().parse_args(arguments)
    for name, value, smallest in (
        ("-n", given.n, 1),
        ("--steps", given.steps, 1),
        ("--batch_size", given.batch_size, 1),
        ("--processes", given.processes, 1),
        ("--seed", given.seed, 0),
    ):
        if value is not None and not smallest <= value <= LARGEST:
            raise InputError(f"`{name}` must be from {smallest} to {LARGEST}, got {value}.")
    order = SamplingJob(
        given.config, given.ckpt_path, given.steps, given.device, given.weights, 0, given.batch_size, given.out, given.n
    )
    trained = order.load()
    order = order._replace(seed=trained.seed if given.seed is None else given.seed)
    against = _against(trained) if given.against else None
    if not _drawn(order, trained, given.processes):
        sys.stderr.write("uddm: a process that drew samples has failed. The same command goes on from here.\n")
        return 1
    sys.stdout.write("\n".join(_summary(order, against)) + "\n")
    return 0


def _drawn(order: SamplingJob, trained: LoadedModel, processes: int) -> bool:
    """Fills the file; returns whether it is there."""
    shards, corpus = order.shards(trained), trained.corpus()
    while not shards.complete():
        shards.begin()
        if processes > 1:
            if not together(order, processes, shards):
                return False
        else:
            with tqdm(total=order.total, desc="samples", delay=2.0, leave=False, dynamic_ncols=True) as bar:
                work(order, trained, bar.update)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "uddm_lightning": __version__}
        tokenizer = corpus.meta["tokenizer_hash"] if corpus else None
        more = {"run": run_folder.name_of(trained.run), "versions": versions, "tokenizer": tokenizer}
        try:
            shards.finish(more, corpus.tokenizer.decode if corpus else None)
        except KeyError:  # a shard has been damaged since it was drawn
            continue
    return True


def _against(trained: LoadedModel) -> TrainComparison:
    """The text of the run.

    Raises:
        InputError: it is not at hand, or is another one by now.
    """
    corpus, manifest = trained.corpus(), run_folder.read_manifest(trained.run)
    if corpus is None:
        raise InputError(
            f"`--against`: the text of `{trained.run}` does not lie prepared in the cache. Any measuring of the run "
            "prepares it, as `uddm validate -c CONFIG --ckpt_path last` does; or leave `--against` out."
        )
    subset = Subset(len(corpus.train), int(manifest["train_size"]), int(manifest["seed"]), corpus.hash)
    return TrainComparison(corpus, subset, trained.packing, NgramCritic(), NGRAM)


def _summary(order: SamplingJob, against: TrainComparison | None) -> list[str]:
    """What there is to say of the first samples of the file, as many as were asked for."""
    said = about(order.file)
    tokens, doubt, spread = 0, 0.0, 0.0
    metric = SampleNeighbours(against.length, NEAR, NEAR) if against else None
    for table in _first(order):
        doubts = torch.tensor(table["entropy"].to_pylist(), dtype=torch.float64)
        tokens, doubt = tokens + doubts.numel(), doubt + float(doubts.sum())
        spread += sum(table["unigram_entropy"].to_pylist())
        if against and metric:
            tokens_BL = torch.tensor(table["tokens"].to_pylist())
            counted_BL = against.kept_L.expand(len(tokens_BL), -1)
            against.update(metric, tokens_BL, counted_BL, torch.tensor(table["sample"].to_pylist()))
    chain = f"{said['sampler']} chain on {said['sampler_steps']} steps"
    means = f"{doubt / tokens:.3f} nats per token; unigram entropy: {spread / order.total:.3f} nats"
    lines = [
        f"{order.total} samples in {order.file}: {chain}, {said['weights']} weights of step {said['step']}, "
        f"seed {said['seed']}",
        f"   entropy at t = {said['entropy_t']:g}: {means}",
    ]
    return [*lines, *_told(metric.compute()._asdict(), against)] if against and metric else lines


def _first(order: SamplingJob) -> list[pa.Table]:
    tables, left = [], order.total
    for table in tqdm(batches(order.file), desc="reading", delay=2.0, leave=False, dynamic_ncols=True):
        tables.append(table.slice(0, left))
        left -= min(left, ROWS)
    return [table for table in tables if len(table)]


def _told(found: dict[str, Any], against: TrainComparison) -> list[str]:
    labels = ", ".join(f"{found[f'n_{label}']} {label}" for label in ("memorized", "spurious", "novel"))
    rows, n = len(against.subset), against.ngram
    inside = f"{found['nearest_overlap']:.3f} of {n}-grams are in it, {found['train_overlap']:.3f} in any training row"
    value, low, high = (found[f"generative_perplexity{end}"] for end in ("", "_low", "_high"))
    lines = [
        f"   against {rows} training rows: {labels}",
        f"   (memorized: at most {NEAR:.0%} of positions differ from a training row; spurious: from another sample; "
        "novel: neither, whether it is good text or not)",
        f"   nearest training row: {found['nearest_distance']:.3f} of positions differ, {inside}",
    ]
    if against.critic:
        line = f"   generative perplexity under the {against.critic.name} critic: {value:.3f} ({low:.3f} to {high:.3f})"
        lines.append(line + (f"; novel samples: {found['novel_perplexity']:.3f}" if found["n_novel"] else ""))
    return lines
