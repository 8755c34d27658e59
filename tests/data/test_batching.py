"""Items of a stream in lists."""

from uddm_lightning.data.batching import batch_by_count, batch_by_length


def test_items_keep_their_order_and_none_is_lost() -> None:
    assert list(batch_by_count(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batch_by_count([], 2)) == []


def test_a_list_ends_with_the_item_that_fills_it() -> None:
    texts = ["a", "bb", "ccc", "d", ""]
    assert list(batch_by_length(texts, 3)) == [["a", "bb"], ["ccc"], ["d", ""]]
    assert list(batch_by_length(texts, 1)) == [["a"], ["bb"], ["ccc"], ["d"], [""]]
