"""The file of feature rows: damage is found, and what a kill leaves is cut off."""

from __future__ import annotations

import numpy as np
import pytest

from paddlecnn.data.storage.row_store import RowStore
from paddlecnn.errors import DataError


def test_any_flipped_bit_of_an_index_is_found_or_costs_only_its_last_block(tmp_path):
    store = RowStore(tmp_path / "store", (4,))
    keys = [bytes([number]) * 24 for number in range(6)]
    with store.writing():
        for first in (0, 3):
            store.append(keys[first : first + 3], np.full((3, 4), first, np.float16))
    content = (tmp_path / "store" / "index").read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "store" / "index").write_bytes(changed)
        with pytest.raises(DataError, match="damaged"):
            RowStore(tmp_path / "store", (4,))


def test_a_row_is_read_back_whatever_was_left_unfinished(tmp_path):
    store = RowStore(tmp_path / "store", (2, 3))
    rows = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    with store.writing():
        store.append([b"a" * 24, b"b" * 24], rows)
    whole = (tmp_path / "store" / "index").read_bytes()
    for length in range(len(whole)):  # a block cut short anywhere, and rows without entries
        (tmp_path / "store" / "index").write_bytes(whole + whole[:length])
        (tmp_path / "store" / "rows").write_bytes(rows.tobytes() + b"unfinished")
        store = RowStore(tmp_path / "store", (2, 3))
        with store.writing():
            assert store.missing([b"b" * 24, b"c" * 24, b"c" * 24]) == [1]
        assert (tmp_path / "store" / "index").read_bytes() == whole
        assert (tmp_path / "store" / "rows").read_bytes() == rows.tobytes()
        np.testing.assert_array_equal(store.read(np.array([1, 0, 1])), rows[[1, 0, 1]])
