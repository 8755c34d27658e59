"""YAML that the parser and PyYAML read alike."""

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uddm_lightning.config.yaml_text import from_yaml, to_yaml

ODD = (
    *("1e3", "7435e12", "null", "~", "yes", "no", "on", "off", "true", "012", "1_000", "nan", ".nan", ".inf", "1:30"),
    *("0x1f", "2026-01-01", "", " ", "#1", "&a", "*a", "!x", "?", "-", "- a", "a: b", "a #b", "[1]", "{a: b}", "'"),
    *('"', "._", "1.", ".5", "+1", "1e5_", "é", "a\nb", "a\u2028b", "\x07", "=", "<<", "%", "@", "`", "|", ">"),
)
LIKE_NUMBERS = st.from_regex(r"[0-9_eE.:+-]{1,8}", fullmatch=True)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | LIKE_NUMBERS


@settings(deadline=None, max_examples=600, derandomize=True, database=None)
@given(TEXT)
def test_every_string_is_read_as_it_was_written(text: str) -> None:
    content = {"model": {"backbone_name": text, "list": [text], "map": {text or "key": text}}, "number": 1e-05}
    written = to_yaml(content)
    assert from_yaml(written) == yaml.safe_load(written) == content


for one in ODD:
    test_every_string_is_read_as_it_was_written = example(one)(test_every_string_is_read_as_it_was_written)
