"""The command `uddm probe`: conditional entropy of a model's predictions, measured without its training data.

Shapes: B rows, L positions.
"""

import csv
import io
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.config.parser import CommandParser
from uddm_lightning.config.ranges import LARGEST
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.data.eval_dataset import RowReader, draw_keys
from uddm_lightning.data.module import SAMPLES, TEXT
from uddm_lightning.data.noise_rows import NoiseRows
from uddm_lightning.data.text_rows import TextRows
from uddm_lightning.probes import EntropyProbe
from uddm_lightning.probes.base import MeasuredBatch
from uddm_lightning.probes.entropy import ILL_CONDITIONED
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.results.tables import Record
from uddm_lightning.runs.load import LoadedModel, draw, load
from uddm_lightning.samplers.denoiser import Denoiser

BATCH = 64  # rows that are measured at a time
COLUMNS = (
    *("split", "weights", "t", "sampler", "n_rows", "entropy", "entropy_low", "entropy_high"),
    *("entropy_corrupted", "entropy_clean", "entropy_leave_one_out", "self_token_influence"),
)


class ProbedRows(NamedTuple):
    """Rows to measure on.

    Attributes:
        split: "samples" or "text".
        number: of rows.
        reader: the text; says of samples where begin and end of a row are. None where nobody knows.
    """

    split: str
    number: int
    reader: RowReader | None


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm probe",
        description="Conditional entropy against t, in nats per token, on rows that the model draws itself or on the "
        "lines of a text. No training data is needed. Entropy near 0 has two causes: memorized rows, and text that is "
        "easy to predict. Compare a text with own samples, or with the same text shuffled.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a run's folder, or its config.yaml")
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="checkpoint; default: the run's last one")
    parser.add_argument("--text", type=Path, metavar="FILE", help="measure on its lines (UTF-8) instead of samples")
    parser.add_argument("-n", type=int, metavar="K", help="rows; default: 256 samples, or all lines of the text")
    parser.add_argument("--times", metavar="T,...", default="1e-5,0.05,0.1,0.25,0.5,1.0", help="default: %(default)s")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument("--seed", type=int, help="of samples and noise; default: the run's")
    parser.add_argument("--steps", type=int, help="steps of the chain that draws; default: the run's")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV, too")
    return parser


def probe(arguments: list[str]) -> int:
    """Runs `uddm probe`; returns its exit status.

    Raises:
        InputError: the arguments, the model or the text are wrong.
    """
    given = _parser().parse_args(arguments)
    for name, value, smallest in (("-n", given.n, 1), ("--steps", given.steps, 1), ("--seed", given.seed, 0)):
        if value is not None and not smallest <= value <= LARGEST:
            raise InputError(f"`{name}` must be from {smallest} to {LARGEST}, got {value}.")
    try:
        entropy = EntropyProbe([float(word) for word in given.times.split(",")], weights=[given.weights])
    except ValueError as error:
        raise InputError(f"`--times {given.times}`: give times in (0, 1] with commas between them.") from error
    trained = load(given.model, given.ckpt_path, given.steps, given.device)
    torch.set_num_threads(trained.threads)
    asked = _asked(trained, given.text, given.n)
    seed = trained.seed if given.seed is None else given.seed
    denoiser = trained.task.denoiser(given.weights)
    for batch in _batches(trained, denoiser, asked, seed):
        sampler = trained.task.sampler
        board = {"sampler": sampler.name, "sampler_steps": sampler.steps} if asked.split == "samples" else {}
        at = MeasuredBatch(trained.task, denoiser, batch, entropy.count_mask(batch), asked.split, given.weights, board)
        entropy.measure(at)
    records = list(entropy.compute_records(trained.task))
    sys.stdout.write("\n".join(_table(records, trained, asked)) + "\n")
    if given.out:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_text(given.out, text.getvalue())
    return 0


def _asked(trained: LoadedModel, text: Path | None, number: int | None) -> ProbedRows:
    tokenizer = trained.tokenizer(fetch=text is not None)
    if text is None:
        return ProbedRows("samples", number or 256, NoiseRows(trained.packing, tokenizer, 0) if tokenizer else None)
    if tokenizer is None:
        raise InputError(
            f"`--text {text}`: the model's vocabulary was learned from its text, which does not lie prepared in the "
            "cache, so nobody knows what its ids mean. Leave `--text` out to measure on the model's own samples."
        )
    rows = TextRows(str(text), tokenizer, trained.packing)
    return ProbedRows("text", min(number or len(rows), len(rows)), rows)


def _batches(trained: LoadedModel, denoiser: Denoiser, asked: ProbedRows, seed: int) -> Iterator[TokenBatch]:
    device = trained.task.device

    def there(mask_BL: Tensor | None) -> Tensor | None:
        return None if mask_BL is None else mask_BL.to(device)

    for start in range(0, asked.number, BATCH):
        ids_B = torch.arange(start, min(start + BATCH, asked.number))
        own = asked.split == "samples"
        assert own or asked.reader is not None
        tokens_BL = draw(trained, denoiser, seed, ids_B) if own or not asked.reader else asked.reader.tokens(ids_B)
        keys_B = draw_keys(seed, SAMPLES if own else TEXT, ids_B, torch.zeros_like(ids_B))
        yield TokenBatch(
            tokens_BL=tokens_BL.to(device),
            rows_B=ids_B.to(device),
            places_B=ids_B.to(device),
            keys_B=keys_B.to(device),
            quantiles_B=(ids_B / asked.number).double().to(device),
            valid_BL=there(asked.reader.valid(ids_B)) if asked.reader else None,
            special_BL=there(asked.reader.special(ids_B)) if asked.reader else None,
            seed=0,
            step=0,
        )


def _table(records: Sequence[Record], trained: LoadedModel, asked: ProbedRows) -> list[str]:
    rows = f"{asked.number} own samples" if asked.split == "samples" else f"{asked.number} rows of text"
    whole = "" if asked.reader else ", begin and end of a row among them"
    t_min = trained.task.objective.t_min
    lines = [
        f"conditional entropy in nats per token, {rows}{whole}; {records[0]['weights']} weights of step {trained.step}",
        f"{'t':>8}  {'entropy':>8}  {'95 % interval':<17} {'corrupted':>9} {'clean':>7}",
    ]
    for record in records:
        interval = f"{_cell(record['entropy_low'])} to {_cell(record['entropy_high'])}"
        cells = f"{_cell(record['entropy_corrupted']):>9} {_cell(record['entropy_clean']):>7}"
        unsure = trained.task.parameterization is Parameterization.POSTERIOR and record["t"] < ILL_CONDITIONED
        note = "  extrapolated" if record["t"] < t_min else "  ill-conditioned" if unsure else ""
        lines.append(f"{record['t']:>8g}  {_cell(record['entropy']):>8}  {interval:<17} {cells}{note}")
    clean = records[0]
    lines.append(
        f"of uncorrupted rows at t = {t_min:g}: {_cell(clean['entropy_leave_one_out'])}; own-token leak "
        f"{_cell(clean['self_token_influence'])} (0 for exact leave-one-out); uniform: "
        f"{math.log(trained.task.process.vocab_size):.3f} (ln V)"
    )
    lines.append("the regime is not judged here: that needs recovery of train and test rows (`uddm validate`)")
    return lines


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
