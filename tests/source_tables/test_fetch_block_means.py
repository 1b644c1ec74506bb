"""Fetching the authors' block means: what is kept, what is refused, what is told."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from core.errors import MalformedDataError, MissingDataError
from core.source_tables import block_means
from core.source_tables.block_means import data_files, digest_of, fetch, keep, kept_archive
from core.source_tables.command import main
from tests.made_block_means import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make the data folder of one experiment, with a picture."""
    made = make(tmp_path_factory.mktemp("made"), np.random.default_rng(1), (6,), n_blocks=2)
    (made.folder / "Exp006-B/gen_01/deepsim_img.webp").write_bytes(b"RIFF picture")
    return made.folder


@pytest.fixture
def digest(folder, monkeypatch):
    """Let the made numbers be the pinned ones."""
    numbers = {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.json")
    }
    monkeypatch.setattr(keep, "__defaults__", (digest_of(numbers),))
    monkeypatch.setattr(block_means, "N_NUMBERS", len(numbers))
    monkeypatch.setattr(block_means, "N_PICTURES", 1)


def contents(archive):
    """Read every data file of a kept archive."""
    with data_files(archive) as files:
        return {name: file.open().read() for name, file in files.items()}


def test_the_digest_is_that_of_gits_blobs(tmp_path):
    """Against git itself: blob hashes, paths, sorted, SHA-256."""
    named = {"b/x.json": b"[1]", "a.json": b"{}\n"}
    lines = ""
    for name in sorted(named):
        (tmp_path / "f").write_bytes(named[name])
        blob = subprocess.run(
            ["git", "hash-object", "--no-filters", "f"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        lines += f"{blob} {name}\n"
    assert digest_of(named) == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("form", ["folder", "clone", "archive"])
def test_an_archive_a_folder_and_a_clone_are_kept_alike(folder, digest, tmp_path, form):
    """The same bytes from each, pictures included."""
    given = folder
    if form == "clone":
        given = tmp_path / "clone"
        (given / ".git").mkdir(parents=True)
        target = given / "neural-evolution-explorer/public/data"
        shutil.copytree(folder, target)
    elif form == "archive":
        given = tmp_path / "x.zip"
        with zipfile.ZipFile(given, "w") as archive:
            for file in folder.rglob("*.*"):
                archive.write(file, f"X-abc/web/public/data/{file.relative_to(folder)}")
    assert keep(given, tmp_path / "out")
    kept = contents(kept_archive(tmp_path / "out"))
    assert kept == {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.*") if f.is_file()
    }
    again = tmp_path / "again"
    keep(folder, again)
    assert kept_archive(again).read_bytes() == kept_archive(tmp_path / "out").read_bytes()


def test_numbers_of_another_commit_are_refused_and_nothing_is_written(folder, tmp_path):
    """Without the made digest these are not the pinned numbers."""
    with pytest.raises(MalformedDataError, match=r"does not hold the block means of commit 4a8f"):
        keep(folder, tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_fewer_pictures_do_not_replace_more(folder, digest, tmp_path):
    """The numbers are the same; what is kept already has the picture."""
    keep(folder, tmp_path / "out")
    bare = tmp_path / "bare.zip"
    with zipfile.ZipFile(bare, "w") as archive:
        for file in folder.rglob("*.json"):
            archive.write(file, f"public/data/{file.relative_to(folder)}")
    assert not keep(bare, tmp_path / "out")
    assert "Exp006-B/gen_01/deepsim_img.webp" in contents(kept_archive(tmp_path / "out"))


def test_the_command_takes_block_means_by_hand(folder, digest, tmp_path, capsys):
    """`--from` tells tables and block means apart by what they hold."""
    assert main(["fetch", "--from", str(folder), "--output", str(tmp_path)]) == 0
    assert "checked and kept" in capsys.readouterr().out
    assert kept_archive(tmp_path).is_file()
    assert main(["fetch", "--from", str(folder), "--output", str(tmp_path)]) == 0
    assert "there already" in capsys.readouterr().out


def test_a_folder_of_neither_is_refused(tmp_path, capsys):
    """The message names both kinds."""
    (tmp_path / "x.txt").write_text("x")
    assert main(["fetch", "--from", str(tmp_path), "--output", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().err
    assert "Fig4A_SuccessRate_maxinit.csv" in told
    assert "experiments.json" in told


def test_one_source_that_fails_does_not_stop_the_other(monkeypatch, tmp_path, capsys):
    """`make data` goes on with what it got, and says what failed."""
    from core.source_tables import command

    def fail(given):
        raise MissingDataError("OSF cannot be reached.")

    monkeypatch.setitem(command._SOURCES, "osf", fail)
    monkeypatch.setitem(command._SOURCES, "block-means", lambda given: 0)
    assert main(["fetch", "--output", str(tmp_path)]) == 0
    assert "osf: OSF cannot be reached." in capsys.readouterr().err
    assert main(["fetch", "--source", "osf", "--output", str(tmp_path)]) == 3


def test_a_download_is_checked_kept_and_not_repeated(folder, digest, tmp_path, monkeypatch):
    """One request; the second call makes none."""
    packed = tmp_path / "x.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, f"X-abc/web/public/data/{file.relative_to(folder)}")
    calls = []

    def served(url, path, **options):
        calls.append((url, options["max_size"]))
        path.parent.mkdir(parents=True)
        path.write_bytes(packed.read_bytes())
        return path

    monkeypatch.setattr(block_means, "download", served)
    assert fetch(tmp_path / "out")
    assert not fetch(tmp_path / "out")
    [(url, max_size)] = calls
    assert url.endswith("/archive/4a8fb317f3c765d381ef814f5cda644bb45985d6.zip")
    assert 209e6 < max_size < 500e6
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["block_means"]
