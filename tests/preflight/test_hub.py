"""Downloads that the components of a config declare, and their sizes."""

from pathlib import Path
from typing import Any

import yaml

from uddm_lightning.data import HubDataset, PretrainedTokenizer
from uddm_lightning.data.downloads import Download
from uddm_lightning.preflight import hub

ROOT = Path(__file__).parents[2]


def test_downloads_of_components(tmp_path: Path) -> None:
    def files(**arguments: Any) -> list[Download]:
        return HubDataset.downloads(**arguments)

    assert files(path=str(tmp_path)) == files(path="json", data_files="a.json") == []
    assert files(path="some/text", name="raw") == [Download("dataset", "some/text", "main", ("raw/*",))]
    named = {"path": "some/text", "revision": "v1", "data_files": {"train": ["a", "b"], "test": "c"}}
    assert files(**named) == [Download("dataset", "some/text", "v1", ("a", "b", "c"))]
    assert files(path="some/text")[0].patterns[0] == "*.arrow"
    assert PretrainedTokenizer.downloads(path="vocab.txt") == []
    assert PretrainedTokenizer.downloads(path="some/words") == [
        Download("model", "some/words", "main", ("tokenizer.json",))
    ]
    nested = {"a": {"class_path": "uddm_lightning.data.HubDataset", "init_args": {"path": "x/y"}}, "b": [1], "c": None}
    assert [one.repo for one in hub.downloads_of(nested)] == ["x/y"]


def test_the_cache_of_the_hub_may_be_missing() -> None:
    for repo in ("a/b", "no//name"):
        assert hub.cached_files(Download("model", repo, "main", ("*",))) == {}


def test_every_corpus_config_has_a_known_size() -> None:
    for path in (ROOT / "configs" / "corpora").glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8")).get("data")
        if content is None:  # the part that they share
            continue
        source = content["source"]["init_args"]
        assert source.get("source", {"init_args": source})["init_args"]["path"] in hub.KNOWN_REPOS
