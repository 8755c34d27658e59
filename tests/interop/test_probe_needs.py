"""Needs of a probe: counted by hand, and of a model of 26 billion parameters whose file is empty."""

import json
import math
import struct
from pathlib import Path

import pytest

from uddm_lightning.audit.calibration import load_calibration
from uddm_lightning.audit.probe import probe_model
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.hub_folder import HubFolder
from uddm_lightning.interop.probe_needs import EVALUATIONS, SAMPLES, ProbeNeeds, measured_speed, place, probe_needs
from uddm_lightning.runs.run import load_run

LAYERS = 13
EXPERTS, TABLE = [128, 1_000_000, 15], [262_144, 2816]  # of each layer; 25.70 B parameters together


@pytest.fixture
def large(tmp_path: Path) -> HubFolder:
    """Shards of 51 GB that take no space: files with holes."""
    shapes = {f"model.layers.{one}.experts.up": EXPERTS for one in range(LAYERS)} | {"model.embed": TABLE}
    for number, (name, shape) in enumerate(shapes.items()):
        size = 2 * math.prod(shape)
        header = json.dumps({name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, size]}}).encode()
        with (tmp_path / f"{number}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            try:
                file.truncate(8 + len(header) + size)
            except OSError:
                pytest.skip("this file system has no files with holes")
    files = {name: f"{number}.safetensors" for number, name in enumerate(shapes)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    config = {"text_config": {"num_experts": 128, "top_k_experts": 8}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return HubFolder(tmp_path)


def test_needs_of_a_large_model_come_from_its_headers(large: HubFolder) -> None:
    needs = probe_needs(large, length=256, steps=48)
    experts, table = LAYERS * 128 * 15_000_000, 262_144 * 2816
    assert needs == ProbeNeeds(
        parameters=experts + table,
        active=experts // 16 + table,
        weight_bytes=2 * (experts + table),
        row_operations=2 * 256 * (experts // 16 + table),
        evaluations=256 * (48 + 22),
    )
    said = needs.sentence(speed=400e12)
    assert said.startswith("25.70 B parameters (2.30 B for each token), 51.4 GB of weights, about 53.5 GB of memory; ")
    assert said.endswith("17,920 evaluations of a row, 2.1e+16 operations, at least 53 s at the speed of this device")


@pytest.mark.parametrize(
    ("free", "device"),
    [
        ({"cpu": 60e9}, "cpu"),
        ({"cpu": 60e9, "cuda": 80e9}, "cuda"),
        ({"cpu": 60e9, "cuda": 24e9}, "auto"),
        ({"cpu": 8e9, "cuda": 40e9, "other GPUs": 40e9}, "auto"),
    ],
)
def test_weights_go_where_they_fit(free: dict[str, int], device: str) -> None:
    needs = ProbeNeeds(26 * 10**9, 4 * 10**9, 52 * 10**9, 1, 1)
    assert place(needs, None, free) == device
    assert place(needs, "cuda:1", {"cpu": 0}) == "cuda:1"
    with pytest.raises(InputError, match=r"needs about 54\.1 GB, and this machine has 8\.0 GB of free memory"):
        place(needs, None, {"cpu": 8 * 10**9})


def test_a_probe_evaluates_each_row_as_often_as_it_states(trained: Path) -> None:
    run, seen = load_run(trained / "run", steps=2), []
    run.draw_ids(SAMPLES)
    run.denoiser.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    records = run.entropy(num_rows=SAMPLES).to_pylist()
    probe_model(run, load_calibration(), records)
    assert sum(seen) == EVALUATIONS * SAMPLES


def test_speed_is_measured() -> None:
    assert 1e8 < measured_speed("F32", "cpu") < 1e15
