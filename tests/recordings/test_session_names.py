"""What the names of sessions, folders and images say."""

from __future__ import annotations

import datetime as dt

import pytest

from core.errors import MalformedDataError, MissingDataError
from neuro_data_analysis.neural_data_utils import (
    Session,
    area_of_channel,
    find_image,
    is_reference_image,
    local_stimulus_folder,
    parse_session,
)

ALFA = Session("Alfa", dt.date(2020, 11, 25))


@pytest.mark.parametrize(
    ("ephys_name", "control_name"),
    [
        ("Alfa-25112020-003", None),
        ("Alfa-25112020-003", "201125_Alfa_generate_BigGAN"),
        ("", "201125_Alfa_generate_BigGAN(1)"),
        ("Alfa-25112020-003-old", "201125_Alfa_generate_BigGAN"),
    ],
)
def test_either_name_tells_animal_and_date(ephys_name, control_name):
    assert parse_session(ephys_name, control_name) == ALFA


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Alfa", "BigGAN"), "cannot be read from ephysFN 'Alfa'"),
        ((None, None), "cannot be read"),
        (("Alfa-25112020-003", "201126_Alfa_x"), "'201126_Alfa_x' says Alfa, 2020-11-26"),
        (("Alfa-25112020-003", "201125_Beto_x"), "disagree"),
        (("Alfa-31112020-003", None), "holds no calendar date"),
    ],
)
def test_names_that_tell_no_session_or_two_are_refused(names, told):
    with pytest.raises(MalformedDataError, match=told):
        parse_session(*names)


def test_channels_are_numbered_from_one_and_belong_to_a_known_animal():
    assert area_of_channel(ALFA, 1) == "IT"
    with pytest.raises(MalformedDataError, match="channel 0: channels are numbered from 1"):
        area_of_channel(ALFA, 0)
    with pytest.raises(MalformedDataError, match="known animals: Alfa, Beto"):
        area_of_channel(Session("Caos", ALFA.date), 1)


def test_a_windows_folder_stands_under_the_local_root(tmp_path):
    found = local_stimulus_folder(r"N:\Stimuli\2020-BigGAN\2020-11-25-Alfa-01", tmp_path)
    assert found == tmp_path / "Stimuli/2020-BigGAN/2020-11-25-Alfa-01"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("block001_thread000_gen_001", "session/block001_thread000_gen_001.bmp"),
        ("cat_thread001_nat", "cat.png"),  # not cat.2.png, whose stem is longer
        ("dog_thread000_nat", "dog.JPG"),
    ],
)
def test_evolved_images_lie_in_the_folder_and_references_in_its_parent(tmp_path, name, expected):
    for file in ("cat.2.png", "cat.png", "dog.JPG", "catalogue.png", "session/cat.png",
                 "session/block001_thread000_gen_001.bmp"):  # fmt: skip
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert is_reference_image(name) == (expected.count("/") == 0)
    assert find_image(name, tmp_path / "session") == tmp_path / expected
    for missing in ("bird_thread000_nat", "block002_thread000_gen_001"):
        with pytest.raises(MissingDataError, match=f"no picture of image '{missing}'"):
            find_image(missing, tmp_path / "session")
    with pytest.raises(MissingDataError, match="no picture"):
        find_image("cat_thread000_nat", tmp_path / "nowhere/session")
