"""The Markdown files of the repository: every link, config, command line and test path that they name exists."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from uddm_lightning import __version__
from uddm_lightning.cli.commands import COMMANDS, LIGHTNING, help_text
from uddm_lightning.config.config_files import find_config, shipped_configs

ROOT = Path(__file__).parents[1]
SITE = "https://github.com/uddm-lightning/uddm_lightning/"
RAW = "https://raw.githubusercontent.com/uddm-lightning/uddm_lightning/main/"
SKIPPED = {"build", "dist", "runs", "node_modules"}
FILES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in SKIPPED or (part[0] == "." and part != ".github") for part in path.relative_to(ROOT).parts)
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)|^\[[^\]]+\]:\s+(\S+)$", re.MULTILINE)
PASSES_ON = ("sweep", "preflight")  # commands that take every option of `uddm fit`, too


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def links(text: str) -> list[str]:
    """Return the targets of all links and images outside code."""
    prose = re.sub(r"`[^`\n]+`", "`code`", FENCE.sub("", text))
    return [inline or reference for inline, reference in LINK.findall(prose)]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a file."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text: str, path: Path) -> list[str]:
    """Return the links of a file at `path` that lead to no file or heading of this repository."""
    broken = []
    for link in links(text):
        place, _, anchor = link.partition("#")
        if workflow := re.match(re.escape(SITE) + r"actions/workflows/([\w.-]+)", place):
            target = ROOT / ".github" / "workflows" / workflow[1]
        elif place.startswith((SITE + "blob/main/", RAW)):
            target = ROOT / place.removeprefix(SITE + "blob/main/").removeprefix(RAW)
        elif re.match(r"[a-z]+:", place):
            continue
        else:
            target = path.parent / place if place else path
        content = text if target == path else text_of(target) if target.suffix == ".md" and target.is_file() else ""
        if not (content or target.exists()) or (anchor and anchor not in anchors(content)):
            broken.append(link)
    return broken


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `uddm` command in code, without the brackets of optional parts."""
    blocks = [block for language, block in FENCE.findall(text) if language == "bash"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for line in [*lines, *re.findall(r"`([^`]+)`", FENCE.sub("", text))]:
        if found := re.search(r"(?:^|[\s;&])(?:uddm|-m uddm_lightning)\s+(.+)", line):
            yield shlex.split(re.sub(r"[\[\]](?!')|(?<=\s)\.\.\.", " ", found[1]), comments=True)


def known_options(command: str) -> set[str]:
    texts = [help_text(one) for one in (command, *(["fit"] if command in PASSES_ON else []))]
    return set(re.findall(r"(?<![\w-])--?[A-Za-z](?:[\w.-]*\w)?", "\n".join(texts))) | {
        "-h",
        "--help",
        "--print_config",
    }


def wrong_words(words: list[str]) -> list[str]:
    """Return what is wrong in a command line: the command, the names of options, the names of configs."""
    command, *options = words
    if command.isupper() or command in ("--help", "--version"):
        return []
    if command not in (*LIGHTNING, *COMMANDS):
        return [command]
    known, wrong = known_options(command), []
    for word in options:
        option = re.split(r"\.init_args\.|=|\+", word)[0]
        is_option = re.match(r"--?[A-Za-z]", word)
        if is_option and option not in known and not option.startswith("--launcher."):
            wrong.append(word)
    for option, value in pairwise(options):
        is_example = value.isupper() or "RUN/" in value or value == "my.yaml"
        if option == "-c" and not is_example and not (ROOT / find_config(value)).is_file():
            wrong.append(value)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken_links(text_of(path), path) == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_reference_is_defined(path: Path) -> None:
    prose = FENCE.sub("", text_of(path))
    assert set(re.findall(r"\]\[([^\]]+)\]", prose)) <= set(re.findall(r"^\[([^\]]+)\]: ", prose, re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    named = re.findall(r"(?<![\w/.])(?:configs|tests|uddm_lightning)/[\w/.-]+\.(?:yaml|py|md|csv)\b", text_of(path))
    assert [file for file in named if not any((folder / file).is_file() for folder in (ROOT, path.parent))] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "CHANGELOG.md"], ids=name)  # it names old ones
def test_every_command_line_is_understood(path: Path) -> None:
    assert [(words, wrong) for words in command_lines(text_of(path)) if (wrong := wrong_words(words))] == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("[a](README.md) [b](#head) `[c](nothing)`\n# Head", 0),
        ("```bash\n[c](nothing)\n```\n", 0),
        ("[a](nothing.md)", 1),
        ("![a](nothing.png)\n\n[a]: nothing.md", 2),
        ("[a](README.md#nothing)", 1),
        (f"[a]({SITE}blob/main/README.md) ![b]({RAW}README.md) [c]({SITE}actions/workflows/tests.yml/badge.svg)", 0),
        (f"[a]({SITE}blob/main/nothing) ![b]({RAW}nothing) [c]({SITE}actions/workflows/no.yml)", 3),
    ],
)
def test_a_broken_link_is_found(text: str, number: int) -> None:
    assert len(broken_links(text, ROOT / "x.md")) == number


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("uddm fit -c quickstart --data.train_size 8 --model.backbone.init_args.hidden_size 8", []),
        ("uddm sweep -c CONFIG --out DIR [--sizes 2:8192:x4] [--seeds 0,1] --recovery.times '[0.1, 0.5]' ...", []),
        ("torchrun --nnodes 2 -m uddm_lightning fit -c configs/paper/lm1b_tiny.yaml --out RUN", []),
        ("uddm COMMAND --help", []),
        ("uddm fitt -c quickstart", ["fitt"]),
        ("uddm fit -c slowstart", ["slowstart"]),
        ("uddm fit -c configs/slowstart.yaml --data.size 8", ["--data.size", "configs/slowstart.yaml"]),
    ],
)
def test_a_wrong_command_line_is_found(line: str, wrong: list[str]) -> None:
    [words] = command_lines(f"```bash\n{line}\n```\n")
    assert wrong_words(words) == wrong


# --- facts from other files ----------------------------------------------------------------------------


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    return data


def test_the_readme_is_short() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= 148


def test_the_badge_shows_the_pythons_of_the_package() -> None:
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(project()["project"]["classifiers"]))
    assert f"python-{versions[0]}_to_{versions[-1]}-blue" in text_of(ROOT / "README.md")


def test_every_config_is_described() -> None:
    table = text_of(ROOT / "configs" / "README.md").partition("| name |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == set(shipped_configs())


def test_the_architecture_shows_the_layers_that_are_checked() -> None:
    layers = project()["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [layer.split(" | ") for layer in layers if layer != "__main__"]
    table = text_of(ROOT / "uddm_lightning" / "README.md").partition("<!-- layers -->")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[3:]]
    assert shown == names


def test_the_layout_names_every_package() -> None:
    layout = text_of(ROOT / "README.md").partition("## Layout")[2].partition("##")[0]
    packages = {path.parent.name for path in (ROOT / "uddm_lightning").glob("*/__init__.py")}
    assert packages - set(re.findall(r"\w+", layout)) == set()


def test_the_citation_names_this_version_and_the_authors_of_the_paper() -> None:
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert citation["version"] == __version__
    readme = " ".join(text_of(ROOT / "README.md").split())
    for author in citation["preferred-citation"]["authors"]:
        assert f"{author['given-names']} {author['family-names']}" in readme
