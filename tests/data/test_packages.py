"""Data inside PyPI packages: what a spec stands for, and that nothing lands outside its folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from planish.base.errors import DataError
from planish.data.files import packages
from planish.data.files.packages import download_wheel, package_file
from planish.data.files.readers import read
from planish.data.formats import import_rows
from planish.data.rows import Demonstration

SPEC = "pypi:toy-data==1.0/toy/data"


def wheel(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "toy_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An index with one package on it; the list says what was asked of it."""
    asked: list[str] = []

    def fetch(requirement: str, into: Path) -> Path:
        asked.append(requirement)
        return wheel(into, {"toy/__init__.py": "raise SystemExit", "toy/data/a.jsonl": '{"text": "Hello."}\n'})

    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "_fetch", fetch)
    return asked


def test_a_package_is_fetched_once_and_only_unpacked(tmp_path: Path, fetched: list[str]) -> None:
    folder = package_file(SPEC)
    assert folder == tmp_path / "cache/packages/toy-data-1.0/toy/data"
    assert (folder / "a.jsonl").read_text() == '{"text": "Hello."}\n'
    assert package_file("pypi:Toy_Data==1.0/toy/data/a.jsonl") == folder / "a.jsonl"
    assert fetched == ["toy-data==1.0"]
    assert [place.name for place in (tmp_path / "cache/packages").iterdir()] == ["toy-data-1.0"]


def test_a_row_from_a_package_names_the_spec(fetched: list[str]) -> None:
    assert str(next(read(SPEC)).origin) == "pypi:toy-data==1.0/toy/data/a.jsonl row 1"
    assert fetched


def test_a_file_that_is_not_there_is_answered_with_near_names(fetched: list[str]) -> None:
    with pytest.raises(DataError, match=r"pypi:toy-data==1.0/toy/data/b.jsonl: no such file.*toy/data/a\.jsonl"):
        package_file("pypi:toy-data==1.0/toy/data/b.jsonl")
    assert fetched


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pypi:toy-data/toy/data", "expected pypi:name==version/path"),
        ("pypi:toy-data==1.0", "expected pypi:name==version/path"),
        ("pypi:--index-url==1.0/x", "expected pypi:name==version/path"),
        ("pypi:toy-data==1.0/../../x", "leads out of the package"),
        ("pypi:toy-data==1.0//etc/passwd", "no such file in the package"),
    ],
)
def test_a_spec_that_cannot_be_followed_says_why(fetched: list[str], spec: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        package_file(spec)
    assert spec in str(caught.value)
    assert len(fetched) <= 1


@pytest.mark.parametrize("entry", ["../outside.txt", "/outside.txt", "toy/../../outside.txt"])
def test_an_entry_that_would_land_outside_stops_the_whole_wheel(tmp_path: Path, entry: str) -> None:
    with pytest.raises(DataError, match="outside"):
        packages.unpack(wheel(tmp_path, {"a.txt": "", entry: ""}), tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"a\.whl: not a whole wheel"):
        packages.unpack(tmp_path / "a.whl", tmp_path / "unpacked")


def test_a_wheel_that_would_fill_the_disk_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as file:
        for _ in range(260):
            file.write(bytes(1 << 20))
    with pytest.raises(DataError, match=r"a\.whl: .* bytes unpack to 272,629,760 or more"):
        packages.unpack(path, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_a_cache_that_cannot_be_made_says_which_setting_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"file/packages: cannot be created: Not a directory\. Set PLANISH_CACHE"):
        download_wheel("toy-data", "1.0")


def test_a_failed_download_passes_on_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        assert ":all:" in command
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution\n")

    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(DataError, match=r"toy-data==1\.0: pip could not download a wheel: ERROR: No matching"):
        download_wheel("toy-data", "1.0")
    assert list((tmp_path / "packages").iterdir()) == []


def test_another_process_may_have_been_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(requirement: str, into: Path) -> Path:
        (tmp_path / "packages/toy-data-1.0/toy").mkdir(parents=True)
        return wheel(into, {"toy/a.txt": ""})

    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "_fetch", fetch)
    assert download_wheel("toy-data", "1.0") == tmp_path / "packages/toy-data-1.0"


@pytest.mark.slow
def test_the_packages_named_in_the_recipes_hold_their_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path))
    try:
        download_wheel("chatterbot-corpus", packages.PINNED["chatterbot-corpus"])
    except DataError as error:
        pytest.skip(f"PyPI cannot be reached: {error}")
    english = import_rows("pypi:chatterbot-corpus/chatterbot_corpus/data/english", (Demonstration,))
    assert (len(english.rows), len(english.dropped)) == (2025, 1)
    chitchat = import_rows("pypi:chitchat-dataset==0.9.0/chitchat_dataset/dataset.json", (Demonstration,))
    assert len(chitchat.rows) + len(chitchat.dropped) == 7168
    assert {dropped.reason for dropped in chitchat.dropped} == {"speakers: found 1, expected 2", "a turn is blank"}
