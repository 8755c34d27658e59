"""What a reader relies on: few imports between packages, and the tests of a file under its name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "uddm_lightning"
LARGEST = 100

# Files without a test file of their own name, each with the tests that cover it: parts of a component that are tested
# through it, and files that act in whole runs only.
TESTED_WITH = {
    "audit/audit.py": "commands/test_audit.py",
    "audit/page.py": "audit/test_statements.py",
    "audit/known_models.py": "commands/test_calibrate.py",
    "audit/probe.py": "commands/test_probe.py",
    "audit/probe_page.py": "commands/test_probe.py",
    "audit/series_page.py": "audit/test_series.py",
    "backbones/hopfield.py": "backbones/test_dense_memory.py",
    "interop/kept_folders.py": "interop/test_pretrained.py",
    "interop/stored_gidd.py": "interop/test_gidd.py",
    "callbacks/basin_table.py": "probes/test_basin.py",
    "callbacks/board.py": "sweeps/test_board.py",
    "callbacks/heartbeat.py": "sweeps/launchers/test_local.py",
    "callbacks/progress.py": "core/test_console.py",
    "callbacks/restored.py": "cli/test_lightning.py",
    "callbacks/sequences.py": "cli/test_lightning.py",
    "cli/resolve.py": "config/test_parser.py",
    "cli/stopping.py": "callbacks/test_foreign.py",
    "commands/report.py": "commands/test_sweep.py",
    "config/command_parser.py": "cli/test_main.py",
    "config/ranges.py": "cli/test_trainer_options.py",
    "critics/base.py": "critics/test_ngram.py",
    "data/component_spec.py": "data/sources/test_detokenized.py",
    "data/downloads.py": "preflight/test_hub.py",
    "data/sources/reading.py": "data/sources/test_files.py",
    "data/text_rows.py": "data/test_changes.py",
    "data/tokenizers/backend_rules.py": "data/tokenizers/test_losses.py",
    "data/tokenizers/wordpiece.py": "data/tokenizers/test_losses.py",
    "doctor/machine.py": "commands/test_doctor.py",
    "doctor/toy_worlds.py": "doctor/test_checks.py",
    "interop/convert.py": "commands/test_convert.py",
    "interop/foreign.py": "commands/test_convert.py",
    "interop/hub_config.py": "interop/test_hub_model.py",
    "interop/hub_tokenizer.py": "interop/test_hub_folder.py",
    "interop/block_diffusion.py": "interop/test_pretrained.py",
    "interop/masked_lm.py": "interop/test_pretrained.py",
    "interop/open_model.py": "commands/test_hub_models.py",
    "interop/pretrained_backbone.py": "interop/test_pretrained.py",
    "interop/pretrained_settings.py": "interop/test_pretrained.py",
    "objectives/reweighted_nelbo.py": "processes/test_hybrid.py",
    "probes/summary.py": "callbacks/test_measurements.py",
    "probes/train_comparison.py": "probes/test_samples.py",
    "processes/fused_triton.py": "processes/test_fused.py",
    "report/colophon.py": "report/test_page.py",
    "report/elements.py": "report/test_page.py",
    "report/estimates.py": "report/test_statements.py",
    "report/figures/chains.py": "report/figures/test_basins.py",
    "report/figures/comparison.py": "report/figures/test_curves.py",
    "report/figures/declared.py": "probes/test_plugin.py",
    "report/figures/drawing.py": "report/figures/test_curves.py",
    "report/figures/errors.py": "report/test_statements.py",
    "report/figures/gaps.py": "report/test_page.py",
    "report/figures/learning.py": "report/figures/test_phases.py",
    "report/figures/svg.py": "report/figures/test_front.py",
    "report/figures/times.py": "report/figures/test_phases.py",
    "report/figures/trajectories.py": "report/figures/test_basins.py",
    "report/hero.py": "report/test_page.py",
    "report/more.py": "report/test_page.py",
    "report/regimes.py": "report/test_statements.py",
    "report/terms.py": "report/test_page.py",
    "results/charts.py": "callbacks/test_tensorboard.py",
    "runs/instantiate.py": "configs/test_precisions.py",
    "sweeps/judged_models.py": "commands/test_calibrate.py",
    "sweeps/launchers/base.py": "sweeps/launchers/test_local.py",
    "sweeps/launchers/slurm_job.py": "sweeps/launchers/test_slurm.py",
    "sweeps/plan.py": "commands/test_sweep.py",
    "sweeps/results.py": "report/test_statements.py",
    "sweeps/run_all.py": "commands/test_sweep.py",
    "sweeps/sweep.py": "commands/test_sweep.py",
    "sweeps/sweep_run.py": "sweeps/launchers/test_local.py",
    "training/batch_notes.py": "probes/test_contract.py",
    "training/exact.py": "probes/test_nelbo.py",
    "transition/method_estimates.py": "transition/test_estimate.py",
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
    tests = Path(__file__).parent
    files = {path.relative_to(ROOT) for path in ROOT.glob("*/**/*.py") if path.name != "__init__.py"}
    unnamed = {path.as_posix() for path in files if not (tests / path.parent / f"test_{path.name}").exists()}
    assert unnamed - set(TESTED_WITH) == set(), "move their tests to tests/<package>/test_<file>.py"
    assert set(TESTED_WITH) - unnamed == set(), "these have tests of their name, or are gone"
    assert [test for test in TESTED_WITH.values() if not (tests / test).exists()] == []


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
