"""Temporary folders of opened models."""

from uddm_lightning.interop.kept_folders import keep_folder


def test_each_call_returns_a_new_folder_that_is_kept() -> None:
    one, two = keep_folder(), keep_folder()
    assert one != two
    assert one.is_dir()
    assert two.is_dir()
