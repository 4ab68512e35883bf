"""Files and folders that two processes would write: the second hears of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from planish.base.errors import RunError
from planish.base.files import new_file, new_folder, one_process_in


def test_a_file_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with new_file(path) as partial:
        partial.write_text("first")
        with pytest.raises(RunError, match=r"answers.jsonl: another process is writing it\. Wait"), new_file(path):
            pass
        assert partial.read_text() == "first"
    assert path.read_text() == "first"
    with new_file(path) as partial:
        partial.write_text("second")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["second"]


def test_a_folder_that_another_process_writes_is_left_to_it_and_what_a_kill_left_behind_goes(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with new_folder(path) as partial:
        (partial / "weights").write_text("first")
        with pytest.raises(RunError, match="model: another process is writing it"), new_folder(path):
            pass
    (tmp_path / ".model.partial" / "inner").mkdir(parents=True)
    (tmp_path / ".model.partial" / "cut").write_text("half of")
    with new_folder(path) as partial:
        assert list(partial.iterdir()) == []
        (partial / "weights").write_text("second")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (path / "weights").read_text() == "second"


def test_a_folder_is_worked_in_by_one_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = r"out: another process is at work in this folder"
    with one_process_in(out), pytest.raises(RunError, match=said), one_process_in(out):
        pass
    with one_process_in(out):
        pass
