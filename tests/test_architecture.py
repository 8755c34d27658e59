"""What a reader relies on: few imports between packages, and the tests of a file under its name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1] / "uddm_lightning"
TESTS = Path(__file__).parent
LARGEST = 100

# Files without a test file of their own name, each with the tests that cover it: parts of a component that are tested
# through it, and files that act in whole runs only.
TESTED_WITH = {
    "audit/page.py": "audit/test_statements.py",
    "audit/known_models.py": "commands/test_calibrate.py",
    "audit/series_page.py": "audit/test_series.py",
    "backbones/hopfield.py": "backbones/test_dense_memory.py",
    "interop/stored_gidd.py": "interop/test_gidd.py",
    "cli/resolve.py": "config/test_parser.py",
    "config/ranges.py": "cli/test_trainer_options.py",
    "critics/base.py": "critics/test_ngram.py",
    "data/component_spec.py": "data/sources/test_detokenized.py",
    "data/downloads.py": "preflight/test_hub.py",
    "data/sources/reading.py": "data/sources/test_files.py",
    "data/text_rows.py": "data/test_changes.py",
    "data/tokenizers/wordpiece.py": "data/tokenizers/test_losses.py",
    "doctor/toy_worlds.py": "doctor/test_checks.py",
    "interop/convert.py": "interop/test_hub_model.py",
    "interop/block_diffusion.py": "interop/test_pretrained.py",
    "interop/masked_lm.py": "interop/test_pretrained.py",
    "interop/open_model.py": "interop/test_pretrained.py",
    "interop/pretrained_backbone.py": "interop/test_pretrained.py",
    "interop/pretrained_settings.py": "interop/test_pretrained.py",
    "objectives/reweighted_nelbo.py": "processes/test_hybrid.py",
    "processes/fused_triton.py": "processes/test_fused.py",
    "report/estimates.py": "report/test_statements.py",
    "report/figures/chains.py": "report/figures/test_basins.py",
    "report/figures/comparison.py": "report/figures/test_curves.py",
    "report/figures/drawing.py": "report/figures/test_curves.py",
    "report/figures/errors.py": "report/test_statements.py",
    "report/figures/gaps.py": "report/figures/test_curves.py",
    "report/figures/learning.py": "report/figures/test_phases.py",
    "report/figures/times.py": "report/figures/test_phases.py",
    "report/figures/trajectories.py": "report/figures/test_basins.py",
    "report/regimes.py": "report/test_statements.py",
    "runs/instantiate.py": "configs/test_precisions.py",
    "sweeps/judged_models.py": "commands/test_calibrate.py",
    "sweeps/launchers/preloaded.py": "sweeps/launchers/test_forked_run.py",
    "sweeps/launchers/slurm_job.py": "sweeps/launchers/test_slurm.py",
    "sweeps/results.py": "report/test_statements.py",
    "sweeps/sweep.py": "sweeps/test_variant.py",
    "sweeps/sweep_run.py": "sweeps/launchers/test_local.py",
    "training/batch_notes.py": "probes/test_contract.py",
}


def test_packages_import_few_other_packages() -> None:
    files: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in ROOT.glob("*/**/*.py"):
        here = path.relative_to(ROOT)
        for package in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if package != here.parts[0]:
                files[here.parts[0], package].add(here.as_posix())
    single = "\n".join(f"{a} -> {b}: {next(iter(names))}" for (a, b), names in sorted(files.items()) if len(names) == 1)
    assert len(files) > LARGEST / 2, "imports are not found"
    assert len(files) <= LARGEST, (
        f"{len(files)} pairs of packages import each other, and at most {LARGEST} may. Move code to the package where "
        f"it belongs. These pairs exist because of one file:\n{single}"
    )


def test_the_tests_of_a_file_have_its_name() -> None:
    tests = TESTS
    files = {path.relative_to(ROOT) for path in ROOT.glob("*/**/*.py") if path.name != "__init__.py"}
    unnamed = {path.as_posix() for path in files if not (tests / path.parent / f"test_{path.name}").exists()}
    assert unnamed - set(TESTED_WITH) == set(), "move their tests to tests/<package>/test_<file>.py"
    assert set(TESTED_WITH) - unnamed == set(), "these have tests of their name, or are gone"
    assert [test for test in TESTED_WITH.values() if not (tests / test).exists()] == []


def test_the_files_that_run_first_exist() -> None:
    assert [name for name in LONGEST if not (TESTS / name).exists()] == []


@pytest.mark.parametrize("file", sorted(TESTED_WITH))
def test_the_tests_of_a_file_import_it_or_what_it_defines(file: str) -> None:
    module = f"{ROOT.name}.{file.removesuffix('.py').replace('/', '.')}"
    test = ast.parse((TESTS / TESTED_WITH[file]).read_text(encoding="utf-8"))
    defined = _defined(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    for node in ast.walk(test):
        if isinstance(node, ast.Import):
            imported = any(alias.name == module for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names, source = {alias.name for alias in node.names}, str(node.module)
            reexported = module.startswith(f"{source}.") and not defined.isdisjoint(names)
            imported = source == module or reexported or any(f"{source}.{name}" == module for name in names)
        else:
            # code that a test runs in another process, and class paths
            imported = isinstance(node, ast.Constant) and isinstance(node.value, str) and module in node.value
        if imported:
            return
    raise AssertionError(f"{TESTED_WITH[file]} imports neither {module} nor a public name that it defines")


def _defined(module: ast.Module) -> set[str]:
    """Return the public names that a module defines."""
    names = {node.name for node in module.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    targets = [target for node in module.body if isinstance(node, ast.Assign) for target in node.targets]
    names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the packages below `uddm_lightning` that a module imports, as import-linter counts: not for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        names = []
        if isinstance(child, ast.ImportFrom):
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        elif isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        for name in names:
            top, *inner = name.split(".")
            if top == ROOT.name and inner and (ROOT / inner[0]).is_dir():
                yield inner[0]
        yield from _imported(child)
