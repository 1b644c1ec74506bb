"""The house: errors, atomic files, lazy imports."""

from __future__ import annotations

import logging

import pytest

from core.errors import (
    MissingDataError,
    UserError,
    choose_from,
    exit_code_of,
    log_to_terminal,
    say,
)
from core.files import UNFINISHED_SUFFIX, atomic_write, sha256_of


def test_atomic_write_keeps_the_earlier_file_when_the_block_raises(tmp_path):
    """A failure in the middle leaves what was there, and nothing beside it."""
    path = tmp_path / "table.csv"
    path.write_text("earlier")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as unfinished:
        unfinished.write_text("half of it")
        raise ZeroDivisionError
    assert path.read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_atomic_write_makes_folders_and_readable_files(tmp_path):
    """The folder is made, the file replaces the earlier one and is not private."""
    path = tmp_path / "a" / "b.txt"
    for text in ("one", "two"):
        with atomic_write(path) as unfinished:
            assert unfinished.name.endswith(UNFINISHED_SUFFIX)
            unfinished.write_text(text)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o444
    assert sha256_of(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_atomic_write_says_where_it_could_not_write(tmp_path):
    """A file in the way of a folder is a sentence, not a traceback."""
    (tmp_path / "taken").write_text("a file")
    with (
        pytest.raises(UserError, match=r"cannot write .*taken"),
        atomic_write(tmp_path / "taken" / "table.csv"),
    ):
        pass


def test_user_error_becomes_one_sentence_and_an_exit_code(capsys):
    def fail():
        raise MissingDataError("no such folder: /nowhere")

    assert exit_code_of(fail) == 3
    assert capsys.readouterr().err == "error: no such folder: /nowhere\n"


def test_refused_names_list_their_neighbours():
    message = choose_from(".layer2.Botleneck3", [".layer2.Bottleneck3", ".Linearfc"], "layer")
    assert "Did you mean '.layer2.Bottleneck3'?" in message
    assert ".Linearfc" in message


def test_core_utils_alone_loads_no_torch(bare):
    code = "import sys, core.utils; sys.exit('torch' in sys.modules)"
    assert bare.run(code).returncode == 0


@pytest.mark.parametrize("said", ["", "0"])
def test_torch_takes_memory_in_large_pages_unless_told_otherwise(bare, said):
    before = f"os.environ.update({{'THP_MEM_ALLOC_ENABLE': {said!r}}})" if said else (
        "os.environ.pop('THP_MEM_ALLOC_ENABLE', None)"
    )
    code = f"import os; {before}; import core.utils; print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    assert bare.run(code).stdout.strip() == (said or "1")


def test_no_escape_reaches_a_terminal(capsys, monkeypatch):
    """Neither by a message, nor by what is told, nor by a log: words of files colour nothing."""
    escape = "\x1b[31mred\x9b2J\a"

    def fail():
        say(f"{escape}\n")
        logging.getLogger("core.x").info("log %s", escape)
        raise MissingDataError(f"no {escape}")

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    log_to_terminal()
    assert exit_code_of(fail) == 3
    written = capsys.readouterr()
    assert "log \\x1b[31mred" in written.err
    for text in (written.out, written.err):
        assert text.count("\\x1b[31mred\\x9b2J\\x07") == text.count("red")
        assert not {"\x1b", "\x9b", "\a"} & set(text)
