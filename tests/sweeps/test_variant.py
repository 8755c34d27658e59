"""What a cell of a setting needs, and how settings differ."""

import pytest

from uddm_lightning.sweeps.variant import Variant


def setting(devices: object, accelerator: str = "cpu", backbone: str = "DiT") -> Variant:
    trainer = {"max_steps": 10, "devices": devices, "accelerator": accelerator}
    model = {"backbone": {"class_path": f"uddm_lightning.backbones.{backbone}"}}
    config = {"threads": 3, "seed_everything": 0, "data": {}, "model": model, "trainer": trainer}
    return Variant(backbone, ("-c", "x.yaml"), config)


@pytest.mark.parametrize(
    ("devices", "processes"), [(1, 1), (2, 2), ("2", 2), ("auto", 1), ([0, 3], 2), ([1], 1), ("0,1,2", 3), (-1, 1)]
)
def test_a_process_for_each_device(tmp_path, devices, processes):
    cell = setting(devices).cell(tmp_path, 8, 0)
    assert (cell.processes, cell.cores, cell.gpus) == (processes, 3 * processes, 0)
    assert setting(devices, "gpu").cell(tmp_path, 8, 0).gpus == processes


def test_an_oracle_is_measured_and_not_trained(tmp_path):
    cell = setting(1, backbone="MarkovBackbone").cell(tmp_path, 8, 5)
    assert cell.start[:3] == ("validate", "-c", "x.yaml")
    assert cell.run.name == "MarkovBackbone-n8-s5"


def test_a_cell_says_how_it_is_started(tmp_path):
    cell = setting(1).cell(tmp_path, 8, 5)
    assert cell.start[:3] == ("fit", "-c", "x.yaml")
    filled = dict(zip(cell.start[3::2], cell.start[4::2], strict=True))
    assert filled == {"--data.train_size": "8", "--seed_everything": "5", "--out": str(tmp_path / "runs" / "DiT-n8-s5")}
    assert cell.arguments() == list(cell.start)
    (cell.run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (cell.run / name).touch()
    assert cell.arguments() == ["fit", "-c", str(cell.run / "config.yaml"), "--ckpt_path", "last"]
