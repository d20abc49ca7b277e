"""One process at a time holds a folder, and nothing of the lock stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorelens.errors import RunFolderError
from moorelens.runs.lock import hold_lock


def test_a_held_folder_is_refused_and_a_released_one_is_not(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_lock(tmp_path), pytest.raises(RunFolderError, match="another one is at work"), hold_lock(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_is_still_released(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        (tmp_path / "lock").unlink()
    with hold_lock(tmp_path):
        pass
