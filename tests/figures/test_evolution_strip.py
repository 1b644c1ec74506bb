"""The strip of best pictures along one evolution, on made block means with made pictures."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from core.errors import MalformedDataError
from core.source_tables.block_means import _pack, data_files, kept_archive
from core.spaces import Space
from figure_reproduction.evolution_strip import main
from neuro_data_analysis.block_means.pictures import read_pictures
from tests.made_block_means import make


def webp(colour, size=(256, 256), form="WEBP"):
    """Make a picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path, rng):
    """Make one experiment of three blocks; block 2 has pictures of both threads, block 1 of one."""
    made = make(tmp_path / "data", rng, (6,), n_blocks=3)
    shown = ((1, "deepsim", "red"), (2, "deepsim", "lime"), (2, "biggan", "blue"))
    for block, name, colour in shown:
        (made.folder / f"Exp006-B/gen_{block:02d}/{name}_img.webp").write_bytes(webp(colour))
    return made.folder


@pytest.fixture
def source_data(folder, tmp_path):
    """Keep them as a fetch does."""
    archive = kept_archive(tmp_path / "source_data")
    archive.parent.mkdir(parents=True)
    with data_files(folder) as files:
        _pack(archive, files)
    return tmp_path / "source_data"


def test_pictures_are_found_by_space_and_block(folder):
    with data_files(folder) as files:
        pictures = read_pictures(files, "Exp006-B", 3)
    assert set(pictures) == {(Space.DEEPSIM, 1), (Space.DEEPSIM, 2), (Space.BIGGAN, 2)}
    colours = {key: picture.reshape(-1, 3).mean(axis=0) for key, picture in pictures.items()}
    np.testing.assert_allclose(colours[Space.DEEPSIM, 1], [255, 0, 0], atol=6)
    np.testing.assert_allclose(colours[Space.BIGGAN, 2], [0, 0, 255], atol=6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"RIFF....WEBP", "no WebP picture"),
        (webp("red", form="PNG"), "no WebP picture"),
        (webp("red", size=(64, 64)), "expected 256"),
    ],
)
def test_a_picture_that_is_none_is_named(folder, content, told):
    """Only WebP is decoded, whatever the name says."""
    (folder / "Exp006-B/gen_03/biggan_img.webp").write_bytes(content)
    with data_files(folder) as files, pytest.raises(
        MalformedDataError, match=rf"gen_03/biggan_img\.webp.*{told}"
    ):
        read_pictures(files, "Exp006-B", 3)


def test_a_strip_is_drawn_with_its_numbers(source_data, tmp_path):
    """A picture and a JSON file: rates of every block, which blocks are shown."""
    arguments = ["--source-data", str(source_data), "--output", str(tmp_path / "out")]
    assert main(["--expi", "6", *arguments]) == 0
    assert (tmp_path / "out/2C_Exp006.png").stat().st_size > 10_000
    numbers = json.loads((tmp_path / "out/2C_Exp006.json").read_text())
    assert numbers["blocks in pictures"] == [1, 2]
    assert len(numbers["DeePSim mean response, events/s"]) == 3
    assert numbers["BigGAN images"] == [25, 25, 25]
    assert "not a panel" in numbers["panel"]


@pytest.mark.parametrize(
    ("expi", "code", "told"), [("7", 3, "lacks the experiment"), ("1", 2, "unknown experiment")]
)
def test_an_experiment_that_is_not_there_is_said(source_data, tmp_path, capsys, expi, code, told):
    arguments = ["--source-data", str(source_data), "--output", str(tmp_path / "out")]
    assert main(["--expi", expi, *arguments]) == code
    assert told in capsys.readouterr().err


def test_without_block_means_the_command_that_fetches_them_is_named(tmp_path, capsys):
    assert main(["--source-data", str(tmp_path)]) == 3
    assert "core.source_data fetch" in capsys.readouterr().err
