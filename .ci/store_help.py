"""Write the help of every command to `uddm_lightning/cli/help/`, because the parser takes seconds to build.

    python .ci/store_help.py

Run it after a change of an option, a default or a docstring of an argument; a test compares.
"""

import contextlib
import io
import os
import re
import textwrap
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from uddm_lightning.cli.commands import ALL_OPTIONS, COMMANDS, HELP, LIGHTNING, find_command
from uddm_lightning.cli.lightning import UddmCLI, run_lightning

WIDTH = 100
ABOUT = {
    "fit": "Trains a model on a subset of N rows and measures it on the way.",
    "validate": "Measures a checkpoint: the numbers that `uddm fit` logged at its step.",
    "test": "Measures a checkpoint on all held-out rows.",
    "predict": "Restores the lines of a text file with the model of a checkpoint.",
}
USAGE = {
    "fit": "uddm fit -c CONFIG [--out RUN] [--KEY VALUE ...]\n       uddm fit -c RUN/config.yaml --ckpt_path last",
    "validate": "uddm validate -c RUN/config.yaml --ckpt_path CKPT [--KEY VALUE ...]",
    "test": "uddm test -c RUN/config.yaml --ckpt_path CKPT [--KEY VALUE ...]",
    "predict": "uddm predict -c RUN/config.yaml --ckpt_path CKPT --text FILE [--KEY VALUE ...]",
}
# The common options in the order of the summary. Those with a command's name in front are of this command alone.
COMMON = {
    "config": "a YAML file or the name of a shipped config; several are merged",
    "out": "folder of the run",
    "ckpt_path": "a checkpoint file, `last` or `previous`",
    "predict:text": "text file whose lines are restored",
    "seed_everything": "seed of the subset, the weights and the noise",
    "threads": "CPU threads; numbers repeat only with the same number",
    "data.train_size": "training rows: an integer counts rows, a number up to 1.0 is a fraction",
    "fit:data.batch_size": "rows of an optimizer step, over all devices",
    "data.num_train_rows": "training rows to measure",
    "data.num_test_rows": "held-out rows to measure",
    "data.source": "class of the corpus, such as TextFiles",
    "model.backbone": "class of the network, such as DiT",
    "fit:model.ema_decay": "decay of the averaged weights",
    "recovery.times": "noise levels at which recovery is measured",
    "recovery.enabled": "so for each probe: entropy, nelbo, basin, trajectory, samples",
    "fit:trainer.max_steps": "optimizer steps",
    "fit:trainer.val_check_interval": "micro-batches between two measurements; default: the last step",
    "trainer.accelerator": "cpu, gpu or auto",
    "trainer.devices": "number of devices",
    "trainer.precision": "32-true, bf16-mixed or 16-mixed",
    "trainer.enable_progress_bar": "false: no progress at all",
    "print_config": "print the resolved configuration and stop",
}


class _Parsers(UddmCLI):
    """Stops when the parser of the subcommand is made."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        raise StopIteration(self._subcommand_parsers[self.arguments[0]])


def lightning_parser(command: str) -> LightningArgumentParser:
    """Return the parser of one of Lightning's commands."""
    try:
        run_lightning([command], _Parsers)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the class above raises it with the parser
    raise AssertionError


def default_of(action: Any) -> str:
    """Return the default of an option as YAML would show it; empty where there is none to show."""
    value = action.default
    if value is None or isinstance(value, Namespace) or str(value) == "==SUPPRESS==":
        return "null" if value is None and not action.required else ""
    if isinstance(value, dict):
        return str(value.get("class_path", ""))
    if isinstance(value, list | tuple):
        return "" if any(not isinstance(one, str | int | float) for one in value) else f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def bracketed(default: str) -> str:
    """Return a default in brackets, once."""
    return default if default.startswith("[") else f"[{default}]"


def summary(name: str, parser: LightningArgumentParser) -> str:
    """Return the screen of common options."""
    actions = {action.dest: action for action in parser._actions}
    lines = []
    for key, words in COMMON.items():
        command, _, key = key.rpartition(":")
        if (command in ("", name)) and key in actions:
            option = "-c, --config" if key == "config" else f"--{key}"
            default = default_of(actions[key])
            words += f" {bracketed(default)}" if default not in ("", "null") else ""
            lines += textwrap.wrap(words, WIDTH, initial_indent=f"  {option:<32} ", subsequent_indent=" " * 35)
    return (
        f"usage: {USAGE[name]}\n\n{ABOUT[name]}\n\nCommon options [default]\n"
        + "\n".join(lines)
        + "\n\nEvery key of a config is an option, also of classes: --model.backbone.init_args.hidden_size 128.\n"
        "`--data.source.help TextFiles` lists the arguments of a class.\n"
    )


def all_options(parser: LightningArgumentParser) -> str:
    """Return every option with its default and meaning, by group."""
    text = []
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.option_strings and not one.dest.endswith(".help")]
        if not actions:
            continue
        title = (group.title or "").rstrip(":")
        text += ["", *textwrap.wrap(f"{title[:1].upper()}{title[1:]}", WIDTH)]
        for action in actions:
            default = default_of(action)
            words = re.sub(r"\s+", " ", (action.help or "").replace("%%", "%").partition("(type:")[0]).strip()
            words = "Path of a YAML file with these options." if words == "Path to a configuration file." else words
            note = " (required)" if action.required else f" {bracketed(default)}" if default else ""
            text.append(f"  {', '.join(action.option_strings)}{note}")
            text += textwrap.wrap(words, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(text) + "\n"


def texts() -> dict[str, str]:
    """Return the help of every command by its name."""
    parsers = {name: lightning_parser(name) for name in LIGHTNING}
    found = {name: summary(name, one) + ALL_OPTIONS + all_options(one) for name, one in parsers.items()}
    os.environ["COLUMNS"] = str(WIDTH + 2)  # argparse leaves two columns free
    for name in COMMANDS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            find_command(name)(["--help"])
        found[name] = printed.getvalue()
    return found


if __name__ == "__main__":
    for command, content in texts().items():
        (Path(HELP) / f"{command}.txt").write_text(content, encoding="utf-8")
