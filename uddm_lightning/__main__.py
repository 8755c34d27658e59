"""Run `uddm` as `python -m uddm_lightning`."""

import os
import sys
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit with its status.

    Args:
        arguments: command and options; None takes those of the process.
    """
    try:
        from uddm_lightning.core.console import dropped_output, make_enduring
        from uddm_lightning.core.process_exit import exit_quickly

        make_enduring()
        if not sys.stderr.isatty():  # the bars of these libraries would fill a log
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        from uddm_lightning.cli.main import main as run

        status = run(arguments)
        if error := dropped_output():
            sys.stderr.write(f"uddm: a part of the output could not be written: {error.strerror}.\n")
            status = status or 1
        exit_quickly(status)
    except KeyboardInterrupt:  # during the imports, before anything has begun
        sys.stderr.write("uddm: stopped.\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
