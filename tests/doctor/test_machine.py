"""Description of the machine."""

from pathlib import Path

import pytest
import torch

from uddm_lightning.doctor.machine import machine_lines


def test_versions_threads_and_the_cache_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "not" / "there"))
    versions, packages, devices, cache = machine_lines()
    assert versions.startswith("uddm_lightning ")
    assert f"torch {torch.__version__}" in packages
    assert f"{torch.get_num_threads()} thread(s) of torch" in devices
    assert cache.startswith(f"cache: {tmp_path}")
    assert cache.endswith("GiB free")
