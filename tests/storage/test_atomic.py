"""A file that is written all or not at all."""

from __future__ import annotations

import pytest

from tsimpute.storage.atomic import new_file


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "made" / "file"
    for content in (b"first", b"second"):
        with new_file(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"), new_file(path) as file:
        file.write(b"half")
        raise OSError("no space left")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
