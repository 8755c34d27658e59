"""Print one of the README's commands: the fenced block right below the line `<!-- command: NAME -->`.

Usage: readme_command.py NAME [README]
"""

import sys
from pathlib import Path


def command(name: str, readme: str) -> list[str]:
    """The lines of the README's command `name`.

    Args:
        name: the name in the marker.
        readme: the text of the README.

    Raises:
        ValueError: the marker is missing or there twice, or what follows is not a closed, filled code block.
    """
    marker = f"<!-- command: {name} -->"
    lines = readme.splitlines()
    places = [number for number, line in enumerate(lines) if line.strip() == marker]
    if len(places) != 1:
        raise ValueError(f"The README must hold the line `{marker}` once, found {len(places)}.")
    start = places[0] + 1
    if start == len(lines) or not lines[start].startswith("```"):
        raise ValueError(f"Right below `{marker}` the README must open a code block with ```, found none.")
    block = []
    for line in lines[start + 1 :]:
        if line.rstrip() == "```":
            break
        block.append(line)
    else:
        raise ValueError(f"The code block below `{marker}` is never closed.")
    if not any(line.strip() for line in block):
        raise ValueError(f"The code block below `{marker}` is empty.")
    return block


def main() -> int:
    """Print the command named on the command line; exit status 2 if there is none."""
    if len(sys.argv) not in (2, 3):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    path = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parents[1] / "README.md"
    try:
        sys.stdout.write("\n".join(command(sys.argv[1], path.read_text(encoding="utf-8"))) + "\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
