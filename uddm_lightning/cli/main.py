"""The command `uddm`."""

import re
import sys
from collections.abc import Callable
from importlib import import_module

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.spike import TrainingSpikeException

from uddm_lightning import __version__
from uddm_lightning.cli.lightning import run_lightning
from uddm_lightning.config.parser import check_configs, sanitize_message
from uddm_lightning.core.errors import DiskFullError, InputError

HELP = f"""uddm {__version__}: trains uniform-state discrete diffusion language models and measures them as memories

  uddm fit -c CONFIG [--out RUN] [--data.train_size N]   train on the nested subset of N rows and measure on the way
  uddm fit -c RUN/config.yaml --ckpt_path last           go on with a run that was stopped
  uddm fit -c RUN/config.yaml --ckpt_path previous       the same from the checkpoint before the last one
  uddm validate -c RUN/config.yaml --ckpt_path CKPT      measure a checkpoint again
  uddm test -c RUN/config.yaml --ckpt_path CKPT          the same on all held-out rows
  uddm predict -c RUN/config.yaml --ckpt_path CKPT --text FILE
                                                         restore the lines of a text file

  uddm sweep -c CONFIG --out DIR [--sizes 2:8192:x4] [--seeds 0,1] [--backbone FILE ...] [--jobs K] ...
                                                         train every size, seed and backbone; find the transition
  uddm report DIR                                        its figures, page and transition.json, from the tables alone

  uddm sample RUN [--ckpt_path CKPT] -n K --out FILE.parquet
                                                         draw rows from the model; goes on where it was stopped
  uddm probe MODEL [--ckpt_path CKPT] [--text FILE]      its doubt about its own samples or a text; no training data
  uddm convert FILE --out RUN                            make a run of a checkpoint of s-sahoo/duo, to be measured
  uddm export RUN [--ckpt_path CKPT] --out FOLDER [--push OWNER/NAME]
                                                         weights as safetensors, with a model card

  uddm preflight -c CONFIG ...                           what `uddm fit` would download and need; fetches nothing
  uddm doctor                                            versions, devices, and whether this machine counts right

  uddm COMMAND --help          every option, with its type and default
  uddm COMMAND ... --print_config
                               the resolved configuration, as YAML
  tensorboard --logdir runs    the curves

Any value of a config can be set on the command line: --model.backbone.init_args.hidden_size 128. Classes are named by
`class_path`: the short name of one of this package's, or the importable path of your own.
"""

# Commands apart from Lightning's, imported when asked for: what draws figures has no part in starting a run.
COMMANDS = {
    "sweep": ("sweep", "sweep"),
    "report": ("report", "report"),
    "sample": ("sample", "sample"),
    "probe": ("probe", "probe"),
    "convert": ("convert", "convert"),
    "export": ("export", "export"),
    "preflight": ("preflight", "preflight"),
    "doctor": ("doctor", "doctor"),
}
LOST_RANK = re.compile("gloo.*Connection (closed|reset) by peer", re.DOTALL)  # what the ranks that are left then meet


def main() -> int:
    """Entry point of the command; returns its exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"uddm {__version__}\n")
        return 0
    try:
        if arguments[0] in COMMANDS:
            module, function = COMMANDS[arguments[0]]
            command: Callable[[list[str]], int] = getattr(import_module(f"uddm_lightning.commands.{module}"), function)
            return command(arguments[1:])
        check_configs(arguments)
        run_lightning()
    except (InputError, MisconfigurationException) as error:
        sys.stderr.write(f"uddm: error: {sanitize_message(str(error))}\n")
        return 2
    except TrainingSpikeException as error:
        sys.stderr.write(f"uddm: stopped: SpikeDetection: {sanitize_message(str(error))}\n")
        return 1
    except (FloatingPointError, DiskFullError) as error:
        sys.stderr.write(f"uddm: stopped: {error}\n")
        return 1
    except RuntimeError as error:
        if not LOST_RANK.search(str(error)):
            raise
        sys.stderr.write("uddm: stopped: another process of this run has ended; its message says why.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("uddm: stopped.\n")
        return 1
    return 0
