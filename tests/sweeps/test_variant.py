"""Resources of a run of a variant, and differences between configurations."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.options import expand_files
from uddm_lightning.sweeps.sweep import sweep
from uddm_lightning.sweeps.variant import SET_BY_SWEEP, Variant, read_variant

CONFIGS = Path(__file__).parents[2] / "configs"


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


def test_a_variant_changes_options_of_a_config():
    arguments = ["-c", str(CONFIGS / "quickstart.yaml"), "--data.batch_size", "16"]
    control = Variant.changed(arguments, "control={}")
    assert (control.name, control.config["data"]["batch_size"]) == ("control", 16)
    options = '{"data.batch_size": 8, "model.objective": {"class_path": "NELBO", "init_args": {"t_min": 0.1}}}'
    found = Variant.changed(arguments, f"small={options}")
    assert (found.name, found.config["data"]["batch_size"]) == ("small", 8)
    assert found.config["model"]["objective"]["class_path"].endswith(".NELBO")
    assert found.config["model"]["objective"]["init_args"] == {"t_min": 0.1, "t_max": 1.0}


@pytest.mark.parametrize("text", ["", "=", "={}", "name", "name=", "name=3", "name={1}"])
def test_a_variant_of_another_form_is_refused(text):
    with pytest.raises(InputError, match=r"`--variant .*`: give a name and options as JSON, such as `--variant 'drop"):
        Variant.changed(["-c", str(CONFIGS / "quickstart.yaml")], text)


@pytest.mark.parametrize("key", SET_BY_SWEEP)
def test_a_variant_does_not_set_what_the_sweep_sets(key):
    section, _, name = key.rpartition(".")
    for options in ({key: 3}, {section: {name: 3}} if section else {key: 3}):
        with pytest.raises(InputError, match=f"`{key}` is set by .* for all models of a sweep; leave it out"):
            read_variant(f"a={json.dumps(options)}")


def test_names_of_models_differ_and_come_from_one_option(tmp_path):
    config = CONFIGS / "quickstart.yaml"
    with pytest.raises(InputError, match="`--variant`: they name the results and must differ, got"):
        sweep(config, tmp_path / "out", variants=["a={}", "a={}"])
    with pytest.raises(InputError, match="`--backbone` and `--variant` both name the models of a sweep: give one"):
        sweep(config, tmp_path / "out", backbones=["backbones/hidden32"], variants={"a": {}})


@pytest.mark.parametrize("path", sorted((CONFIGS / "ablations").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_ablation_resolves_and_differs_from_its_control(path):
    base = ["-c", str(CONFIGS / "quickstart.yaml")]
    words = expand_files([*base, "-c", str(path)])
    texts = [value for word, value in pairwise(words) if word == "--variant"]
    assert sum(text.endswith("={}") for text in texts) == 1, "one model is the config as it is"
    assert texts[0] == "control={}" or path.stem == "width"
    models = [Variant.changed(base, text).config for text in texts]
    assert len({str({**one, "model": {**one["model"], "backbone_name": ""}}) for one in models}) == len(texts) >= 2


@pytest.mark.slow
def test_a_sweep_of_variants_is_compared_on_its_page(config, tmp_path):
    masks = {"class_path": "AbsorbingProcess", "init_args": {"schedule": {"class_path": "LogLinearSchedule"}}}
    masked = {"model.process": masks}  # predicts nothing where no token is hidden
    variants = {"control": {}, "dropout": {"model.backbone.init_args.dropout": 0.5}, "masked": masked}
    unused = {probe: {"enabled": False} for probe in ("basin", "trajectory", "samples")}
    options = {"page_only": True, "trainer": {"max_steps": 3}, **unused}
    found = sweep(config, tmp_path / "out", sizes=[2, 8], variants=variants, **options)
    assert not found.failed
    assert {path.name for path in found.runs} == {f"{name}-n{n}-s0" for name in variants for n in (2, 8)}
    assert {(row["backbone"], row["to"]) for row in found.transition["comparison"]} == {
        ("dropout", "control"),
        ("masked", "control"),
    }
    command = (tmp_path / "out" / "command.txt").read_text()
    assert """--variant 'control={}' --variant 'dropout={"model.backbone.init_args.dropout": 0.5}'""" in command
    rows = found.measurements().to_pylist()
    losses = {row["backbone"]: row["nelbo"] for row in rows if (row["metric"], row["split"]) == ("nelbo", "test")}
    assert losses["control"] != losses["dropout"]
    assert 'id="frontier"' in found.report.read_text()
