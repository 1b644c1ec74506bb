"""Latent codes: per block and thread (v5), merged (v7.3), joined with what was shown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from core.errors import MalformedDataError, MissingDataError
from neuro_data_analysis.evolution.codes import (
    LatentCodes,
    merged_codes_file,
    read_latent_codes,
    read_merged_codes,
)
from neuro_data_analysis.matlab.v73_writer import write_v73

N_IMAGES, LENGTH = 4, 6


def write_block(folder, block, thread=0, names=None, codes=None):
    """Write one generation as the experiment did: ids in a row cell, codes in rows."""
    if names is None:
        names = [picture(block, number) + ".bmp" for number in range(N_IMAGES)]
    if codes is None:
        codes = 100.0 * thread + 10 * block + np.arange(len(names))[:, np.newaxis]
        codes = codes + np.linspace(0, 0.5, LENGTH)
    ids = np.array(names, dtype=object)[np.newaxis, :]
    savemat(folder / f"block{block:03d}_thread{thread:03d}_code.mat", {"codes": codes, "ids": ids})


def picture(generation, number, thread=0):
    return f"block{generation + 1:03d}_thread{thread:03d}_gen_gen{generation:03d}_{number:06d}"


def test_blocks_are_read_in_order_of_generation(tmp_path):
    """Codes, names and generations of one thread; the other thread's files are left alone."""
    for block in (2, 0, 1):
        write_block(tmp_path, block)
    write_block(tmp_path, 0, thread=1)
    (tmp_path / "space_opts.mat").write_bytes(b"not looked at")
    latents = read_latent_codes(tmp_path, 0)
    assert latents.codes.shape == (3 * N_IMAGES, LENGTH)
    np.testing.assert_array_equal(latents.codes[:, 0], [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23])
    assert latents.generation.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert latents.picture_names[5] == picture(1, 1) + ".bmp"
    assert read_latent_codes(tmp_path, 1).codes[0, 0] == 100


def test_founders_and_the_generation_that_was_never_shown_drop_out(tmp_path):
    """Only codes whose picture was shown are joined, in order of presentation."""
    write_block(tmp_path, 0, names=[f"founder_{n:03d}" for n in range(1, N_IMAGES + 1)])
    for block in (1, 2):
        write_block(tmp_path, block)
    names = [picture(0, 0), "face (3)_thread000_nat", picture(1, 3), picture(1, 0), picture(1, 3)]
    presentations, rows = read_latent_codes(tmp_path, 0).shown(names)
    assert presentations.tolist() == [2, 3, 4]
    assert rows.tolist() == [7, 4, 7]


def test_named_founders_are_joined(tmp_path):
    """Later sessions name the pictures of their founders."""
    write_block(tmp_path, 0)
    presentations, rows = read_latent_codes(tmp_path, 0).shown([picture(0, 2)])
    assert (presentations.tolist(), rows.tolist()) == ([0], [2])


def test_nothing_in_common_gives_empty_indices(tmp_path):
    """Other names have no codes; the result can still be used as an index."""
    write_block(tmp_path, 0)
    latents = read_latent_codes(tmp_path, 0)
    presentations, rows = latents.shown(["face (3)_thread000_nat"])
    assert latents.codes[rows].shape == (0, LENGTH)
    assert presentations.dtype == np.intp


def test_merged_files_read_to_the_same_codes(tmp_path):
    """One v7.3 file per thread, whose name counts threads from 1."""
    for block in (0, 1):
        write_block(tmp_path, block)
    expected = read_latent_codes(tmp_path, 0)
    assert merged_codes_file(3, 1) == "Exp003_thread2_all_codes.mat"
    path = tmp_path / merged_codes_file(3, 0)
    with write_v73(path, "x") as file:
        file.save("codes_all", expected.codes)
        file.save("code_geni", expected.generation.astype(float))
        file.save("img_ids", np.array(expected.picture_names, dtype=object))
    merged = read_merged_codes(path)
    np.testing.assert_array_equal(merged.codes, expected.codes)
    np.testing.assert_array_equal(merged.generation, expected.generation)
    assert merged.picture_names == expected.picture_names


def _gap(folder):
    for block in (0, 2):
        write_block(folder, block)


def _cut_off(folder):
    write_block(folder, 0)
    path = folder / "block000_thread000_code.mat"
    path.write_bytes(path.read_bytes()[:300])


def _other_length(folder):
    write_block(folder, 0)
    write_block(folder, 1, codes=np.zeros((N_IMAGES, LENGTH + 1)))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda f: None, MissingDataError, "no latent codes of thread 0; expected files block000"),
        (lambda f: f.rmdir(), MissingDataError, "no latent codes of thread 0"),
        (_gap, MissingDataError, r"lacks block001_thread000_code\.mat"),
        (_cut_off, MalformedDataError, "not a readable MATLAB v5 file"),
        (
            lambda f: (f / "block000_thread000_code.mat").write_text("hello"),
            MalformedDataError,
            "not a readable MATLAB v5 file",
        ),
        (
            lambda f: savemat(f / "block000_thread000_code.mat", {"codes": np.zeros((2, 3))}),
            MalformedDataError,
            "holds no 'ids'",
        ),
        (
            lambda f: write_block(f, 0, codes=np.zeros((N_IMAGES + 1, LENGTH))),
            MalformedDataError,
            r"\(5, 6\) for 4 ids",
        ),
        (_other_length, MalformedDataError, "differ in length"),
    ],
    ids=["empty", "absent", "gap", "cut off", "text", "no ids", "rows", "lengths"],
)
def test_unusable_folders_are_refused_in_a_sentence(tmp_path, make, error, sentence):
    """Which file, what is wrong, what to do."""
    folder = tmp_path / "session"
    folder.mkdir()
    make(folder)
    with pytest.raises(error, match=sentence):
        read_latent_codes(folder, 0)


def test_a_merged_file_without_codes_is_refused(tmp_path):
    """The missing variables are named."""
    with write_v73(tmp_path / "x.mat", "x") as file:
        file.save("codes_all", np.zeros((2, 3)))
    with pytest.raises(MalformedDataError, match="holds no code_geni, img_ids"):
        read_merged_codes(tmp_path / "x.mat")


def test_codes_names_and_generations_belong_together():
    """As many of each, or the object is not made."""
    with pytest.raises(MalformedDataError, match="for 1 pictures of 2 generations"):
        LatentCodes(np.zeros((2, 3)), ("a.bmp",), np.zeros(2, dtype=np.intp))
