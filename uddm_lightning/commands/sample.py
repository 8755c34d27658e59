"""The command `uddm sample`."""

import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.open_model import MODEL_HELP, ModelOptions, add_model_options, open_source
from uddm_lightning.runs.sample_summary import summarize, summary_lines, train_comparison
from uddm_lightning.runs.sampling import SamplingJob, sample_to_file
from uddm_lightning.runs.shards import check_name

EPILOG = """\
Sample i is a function of weights, seed and i alone. The same command continues where it was stopped, a larger -n adds
samples, and the same command on another machine that shares the file system shares the work. No training data is
needed; where the tokenizer is at hand, samples are written as text, too.
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm sample", description="Draw rows from a trained model into a parquet file.", epilog=EPILOG
    )
    parser.add_argument("run", type=Path, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="a file, last (default) or previous")
    parser.add_argument("-n", type=int, required=True, metavar="K", help="number of samples")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet", help="file to write")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument("--seed", type=int, help="of the samples; default: the run's, which its probes use")
    parser.add_argument("--steps", type=int, help="steps of the chain; default: the run's")
    parser.add_argument("--batch_size", type=int, default=64, metavar="B", help="samples drawn together")
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="processes on this machine")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    parser.add_argument(
        "--against",
        action="store_true",
        help="compare the samples with the training rows of the run; their prepared text must be in the cache",
    )
    add_model_options(parser)
    return parser


def sample(arguments: list[str]) -> int:
    """Run `uddm sample` and return its exit status.

    Raises:
        InputError: the arguments, the config, the checkpoint or the file are wrong.
    """
    given = _parser().parse_args(arguments)
    check_options(vars(given), {"n": 1, "steps": 1, "batch_size": 1, "processes": 1, "seed": 0})
    check_name(given.out)
    opened = open_source(given.run, ModelOptions.of(given))
    model, batch = opened.run.model, given.batch_size
    seed = model.seed if given.seed is None else given.seed
    if opened.path is None:
        if given.processes > 1:
            raise InputError(f"`--processes {given.processes}`: `{given.run}` is drawn from in one process only.")
        batch = min(batch, opened.run.batch)
    path = opened.path or model.folder
    job = SamplingJob(path, opened.ckpt_path, given.steps, given.device, given.weights, seed, batch, given.out, given.n)
    against = train_comparison(model) if given.against else None
    if not sample_to_file(job, opened.run, given.processes):
        sys.stderr.write("uddm: a process that drew samples has failed. The same command continues from here.\n")
        return 1
    sys.stdout.write("\n".join(summary_lines(job, summarize(job, against), against)) + "\n")
    return 0
