"""Loading a model from its config and checkpoint."""

import json
import shutil

import pytest
import yaml

from tests.runs.conftest import loaded
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs import load as loading


def changed(run, tmp_path, change):
    """Return a changed config of the run beside a link to its checkpoint."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("model"), "has no section `model`"),
        (lambda config: config["data"].pop("packing"), "has no section `data.packing`"),
        (lambda config: config["model"].update(backbone={"class_path": "UnigramBackbone"}), "has no weights to load"),
        (lambda config: config["model"]["backbone"]["init_args"].update(hidden_size=32), "holds another network"),
        (lambda config: config["model"]["sampler"]["init_args"].update(steps=-1), "steps"),
    ],
)
def test_a_config_that_does_not_fit_is_named(run, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        loading.load(changed(run, tmp_path, change), str(run / "checkpoints" / "last.ckpt"))


def test_a_config_that_cannot_be_read_is_named(run, tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.yaml` cannot be read as a config"):
        loading.load(tmp_path / "broken.yaml", str(run / "checkpoints" / "last.ckpt"))


def test_a_changed_text_is_refused(run, tmp_path):
    model = loaded(run / "config.yaml", "last", None, None)
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert model._replace(folder=copy).corpus() is None
    (copy / "manifest.json").write_text(json.dumps({**manifest, "corpus": "0" * 32}), encoding="utf-8")
    assert model._replace(folder=copy).corpus() is None
    (copy / "manifest.json").write_text(json.dumps({**manifest, "tokenizer_spec": {"class_path": "no.where"}}))
    assert model._replace(folder=copy).corpus() is None


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"`.*none`: there is no such file or folder\. Give the folder of a run"):
        loading.load(tmp_path / "none", "last")
    with pytest.raises(InputError, match=r"holds no `config.yaml`, so it is not the folder of a run"):
        loading.load(tmp_path, "last")


def test_a_checkpoint_of_another_run_is_refused(run, tmp_path):
    for name in ("config.yaml", "manifest.json"):
        shutil.copy(run / name, tmp_path / name)
    checkpoint = run / "checkpoints" / "last.ckpt"
    with pytest.raises(InputError, match=r"last.ckpt` is a checkpoint of the run `.*`, not of .*\. Give that run"):
        loading.load(tmp_path, str(checkpoint))
    (tmp_path / "link").symlink_to(run)
    assert loading.load(tmp_path / "link", str(checkpoint)).step > 0
