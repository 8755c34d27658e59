"""Resources of a run of a variant, and differences between configurations."""

import pytest

from uddm_lightning.sweeps.variant import Variant


def variant(devices: object, accelerator: str = "cpu", backbone: str = "DiT") -> Variant:
    trainer = {"max_steps": 10, "devices": devices, "accelerator": accelerator}
    model = {"backbone": {"class_path": f"uddm_lightning.backbones.{backbone}"}}
    config = {"threads": 3, "seed_everything": 0, "data": {}, "model": model, "trainer": trainer}
    return Variant(backbone, ("-c", "x.yaml"), config)


@pytest.mark.parametrize(
    ("devices", "processes"), [(1, 1), (2, 2), ("2", 2), ("auto", 1), ([0, 3], 2), ([1], 1), ("0,1,2", 3), (-1, 1)]
)
def test_there_is_a_process_for_each_device(tmp_path, devices, processes):
    run = variant(devices).run(tmp_path, 8, 0)
    assert (run.processes, run.cores, run.gpus) == (processes, 3 * processes, 0)
    assert variant(devices, "gpu").run(tmp_path, 8, 0).gpus == processes


def test_an_oracle_is_measured_and_not_trained(tmp_path):
    run = variant(1, backbone="MarkovBackbone").run(tmp_path, 8, 5)
    assert run.start[:3] == ("validate", "-c", "x.yaml")
    assert run.folder.name == "MarkovBackbone-n8-s5"


def test_a_run_has_its_command_line(tmp_path):
    run = variant(1).run(tmp_path, 8, 5)
    assert run.start[:3] == ("fit", "-c", "x.yaml")
    words = run.arguments()
    assert tuple(words[:3]) == run.start
    filled = dict(zip(words[3::2], words[4::2], strict=True))
    assert filled == {"--data.train_size": "8", "--seed_everything": "5", "--out": str(tmp_path / "runs" / "DiT-n8-s5")}
    (run.folder / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (run.folder / name).touch()
    assert run.arguments() == ["fit", "-c", str(run.folder / "config.yaml"), "--ckpt_path", "last"]
