"""`python -m uddm_lightning` is `uddm`."""

import sys


def main() -> None:
    """Runs the command and exits with its status."""
    try:
        from uddm_lightning.core.console import make_enduring

        make_enduring()
        from uddm_lightning.cli.main import main as run  # heavy imports only once a command is really run

        sys.exit(run())
    except KeyboardInterrupt:  # so early that nothing has begun
        sys.stderr.write("uddm: stopped.\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
