"""What users really have in hand is placed, or named one by one; its origin comes with it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.source_tables.command import main
from core.source_tables.placement import FoundFile, choose_files, files_of, place
from core.source_tables.provenance import PROVENANCE_FILE, Provenance, read_provenance

RATES = "Fig4A_SuccessRate_maxinit.csv"
LABELS = "Fig4A_sucs_labels.txt"
FOUND = Provenance("found")


def write(folder, *names, content=b"x\n", note=None):
    """Write files of some names, and a note of origin beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)
    if note is not None:
        (folder / PROVENANCE_FILE).write_text(json.dumps(note))
    return folder


def zipped(path, **entries):
    """Write an archive whose entries are named as given, whatever the system."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    return path


def placed_from(source, target):
    """Place what lies at a path; return the names below the target."""
    with files_of(source) as found:
        placed = place(choose_files(found)[0], target, FOUND)
    assert all(path.read_bytes() for path in placed.written)
    return sorted(path.relative_to(target).as_posix() for path in placed.written), placed


@pytest.mark.parametrize(
    "path",
    [f"osfstorage\\Fig4_Source_data\\{RATES}", f"Fig4\\Fig4\\{RATES}", f"a/b\\c/{RATES}"],
)
def test_archives_with_backslashes_are_read(tmp_path, path):
    source = zipped(tmp_path / "by_windows.zip", **{path: b"x\n"})
    assert placed_from(source, tmp_path / "out")[0] == [f"Fig4/{RATES}"]


@pytest.mark.parametrize("path", ["..\\..\\" + RATES, "C:\\" + RATES, "\\\\server\\" + RATES])
def test_backslashes_lead_nowhere_else(tmp_path, path):
    source = zipped(tmp_path / "given.zip", **{path: b"x\n"})
    with pytest.raises(MalformedDataError, match="points outside"), files_of(source):
        pass


def test_an_entry_without_a_name_is_refused(tmp_path):
    source = zipped(tmp_path / "given.zip", **{"": b"x"})
    with pytest.raises(MalformedDataError, match="its entry '' has no name"), files_of(source):
        pass


@pytest.mark.parametrize(
    "name",
    ["Fig4A_SuccessRate_maxinit (1).csv", f"{RATES}.txt", RATES.upper(), RATES.lower(),
     "Fig4A_SuccessRate_maxinit - Copy.csv", "Fig4A_SuccessRate_maxinit(2).csv.txt"],
)  # fmt: skip
def test_names_that_browsers_and_editors_change_are_placed_and_told(tmp_path, name):
    names, placed = placed_from(write(tmp_path / "Downloads", name), tmp_path / "out")
    assert names == [f"Fig4/{RATES}"]
    assert placed.renamed == [f"{name} as {RATES}"]


def test_a_file_of_the_very_name_goes_before_its_twin(tmp_path):
    source = write(tmp_path / "Downloads", RATES, content=b"right\n")
    write(source, "Fig4A_SuccessRate_maxinit (1).csv", content=b"other\n")
    _, placed = placed_from(source, tmp_path / "out")
    assert placed.written[0].read_bytes() == b"right\n"
    assert placed.renamed == []


def test_folders_that_are_twins_or_links_are_read_once(tmp_path):
    """``Fig4 (1)`` beside ``Fig4``, a linked folder of a figure, and a link to the folder above."""
    elsewhere = write(tmp_path / "disk" / "Fig5", "Figure5_src_exp_masks_and_succ_labels.csv")
    source = tmp_path / "given"
    write(source / "Fig4_Source_data", RATES)
    write(source / "Fig4_Source_data (1)", RATES)
    (source / "Fig5_Source_data").symlink_to(elsewhere)
    (source / "again").symlink_to(source)
    names, _ = placed_from(source, tmp_path / "out")
    assert names == [f"Fig4/{RATES}", "Fig5/Figure5_src_exp_masks_and_succ_labels.csv"]


def test_a_single_table_is_placed_with_its_origin(tmp_path):
    note = {"kind": "simulated", "details": {"seed": "1"}}
    source = write(tmp_path / "a" / "Fig4", RATES, note=note)
    assert placed_from(source / RATES, tmp_path / "out")[0] == [f"Fig4/{RATES}"]
    assert read_provenance(tmp_path / "out" / "Fig4").mark == "SIMULATED"


def _tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(RATES), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(_tar()), "is compressed by gzip, maybe a tar archive; unpack it and give"),
        (_tar(), "is a tar archive; unpack it and give the folder"),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page, such as that of a log-in"),
        (b"", "is empty; download it again"),
        (b"PK\x03\x04 and then nothing", "is not a whole zip archive"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path, content, told):
    (tmp_path / "osf.zip").write_bytes(content)
    with pytest.raises(MalformedDataError, match=told), files_of(tmp_path / "osf.zip"):
        pass


NOTES = {
    "simulated": {"kind": "simulated", "details": {"seed": "20260101"}},
    "untrained": {"kind": "untrained", "details": {}},
    "recordings": {"kind": "recordings", "details": {"recording": "x.mat"}},
    "mixed": {"kind": "recordings", "details": {},
              "files": {RATES: {"kind": "simulated", "details": {}}}},
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("kind", NOTES)
def test_the_origin_of_tables_comes_with_them(tmp_path, kind, packed):
    """A simulated figure keeps its mark, wherever its tables were copied."""
    source = write(tmp_path / "colleague" / "Fig4", RATES, note=NOTES[kind]).parent
    if packed:
        entries = {f"Fig4/{name}": (source / "Fig4" / name).read_bytes()
                   for name in (RATES, PROVENANCE_FILE)}  # fmt: skip
        source = zipped(tmp_path / "colleague.zip", **entries)
    placed_from(source, tmp_path / "out")
    expected = {"mixed": "SIMULATED", "simulated": "SIMULATED", "untrained": "UNTRAINED"}
    assert read_provenance(tmp_path / "out" / "Fig4").of([RATES]).mark == expected.get(kind, "")
    assert len(read_provenance(tmp_path / "out" / "Fig4").explanation) > 10


def test_the_simulated_folder_stays_simulated(tmp_path, small_source_data, capsys):
    """As one colleague gives it to another."""
    arguments = ["fetch", "--from", str(small_source_data), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--figure", "Fig4"]) == 0
    capsys.readouterr()
    there = read_provenance(small_source_data / "Fig4")
    assert there.mark == "SIMULATED"
    assert read_provenance(tmp_path / "out" / "Fig4") == there


@pytest.mark.parametrize("force", [False, True])
def test_simulated_tables_are_not_laid_among_others(tmp_path, force):
    out = write(tmp_path / "out" / "Fig4", LABELS).parent
    source = write(tmp_path / "given" / "Fig4", RATES, note=NOTES["simulated"]).parent
    with files_of(source) as found, pytest.raises(CannotWriteError, match="another origin"):
        place(choose_files(found)[0], out, FOUND, force)
    assert [path.name for path in (out / "Fig4").iterdir()] == [LABELS]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "real", "details": {}}', "[" * 100_000])
def test_an_unreadable_note_of_origin_stops_the_copy(tmp_path, text):
    source = write(tmp_path / "given", RATES)
    (source / PROVENANCE_FILE).write_text(text)
    with files_of(source) as found, pytest.raises(MalformedDataError, match=r"provenance\.json"):
        choose_files(found)


def test_nothing_is_placed_where_one_file_is_damaged(tmp_path):
    """All are verified first, so that no set is left half old and half new."""
    def broken():
        raise zipfile.BadZipFile("bad CRC-32")

    good = FoundFile(f"Fig4/{RATES}", 2, lambda: io.BytesIO(b"x\n"))
    chosen = {RATES: good, LABELS: FoundFile(f"Fig4/{LABELS}", 2, broken)}
    with pytest.raises(MalformedDataError, match=LABELS):
        place(chosen, tmp_path / "out", FOUND)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_output_that_no_system_can_have_is_refused(tmp_path):
    chosen = {RATES: FoundFile(RATES, 2, lambda: io.BytesIO(b"x\n"))}
    with pytest.raises(CannotWriteError, match="cannot write"):
        place(chosen, Path("x" * 5_000), FOUND)


def test_ten_thousand_unknown_names_are_looked_up_and_not_compared_one_by_one():
    """A listing of so many took 25 s."""
    files = [FoundFile(f"a/Fig4A_SuccessRate_{n}.csv", 1, io.BytesIO) for n in range(10_000)]
    started = time.process_time()
    chosen, unknown = choose_files(files)
    assert time.process_time() - started < 3
    assert chosen == {}
    assert len(unknown) == 10_000


def test_an_output_within_the_source_is_no_second_choice(tmp_path):
    """The second call finds what the first one placed, of the same bytes."""
    (tmp_path / "Fig4_Source_data").mkdir()
    (tmp_path / "Fig4_Source_data" / "Fig4A_sucs_labels.txt").write_text('{"sucs_label": ""}')
    for _ in range(2):
        with files_of(tmp_path) as found:
            chosen, unknown = choose_files(found)
            place(chosen, tmp_path / "source_data", Provenance("found"))
        assert list(chosen) == ["Fig4A_sucs_labels.txt"]
        assert unknown == []


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    """Its tables would be missing without a word."""
    closed = tmp_path / "Fig4_Source_data"

    def walk(folder, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", str(closed)))
        return iter(())

    monkeypatch.setattr("core.source_tables.placement.os.walk", walk)
    told = r"Fig4_Source_data cannot be read \(Permission denied\); change its permissions"
    with pytest.raises(MissingDataError, match=told), files_of(tmp_path):
        pass
