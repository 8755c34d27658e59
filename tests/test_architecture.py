"""The number of imports between packages: each pair of packages costs a reader a look into another folder."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "uddm_lightning"
LARGEST = 100


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
