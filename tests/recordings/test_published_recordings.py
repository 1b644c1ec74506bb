"""The most used functions of the published neuro_data_analysis, on a recording file."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from core.errors import MissingDataError, UsageError
from neuro_data_analysis import neural_data_lib, published_calls
from neuro_data_analysis.neural_data_lib import (
    extract_evol_activation_array,
    extract_natref_activation_array,
    get_expstr,
    load_img_resp_pairs,
    load_neural_data,
    pad_psth_traj,
    pad_resp_traj,
)
from neuro_data_analysis.neural_data_utils import (
    area_mapping,
    get_all_masks,
    get_Animal_expdate,
    parse_meta,
    parse_montage,
)


@pytest.fixture(scope="module")
def BFEStats(small_matroot):
    with load_neural_data(small_matroot) as recordings:
        yield recordings


def test_activations_come_by_block_and_joined(BFEStats):
    """Responses are means over 50 to 199 ms, baselines over 0 to 44 ms; generations from 1."""
    S = BFEStats[155]
    for extract, kind in (
        (extract_evol_activation_array, "blocks"),
        (extract_natref_activation_array, "references"),
    ):
        for thread in (0, 1):
            blocks = getattr(S.threads[thread], kind)
            resp_arr, bsl_arr, gen_arr, resp_vec, bsl_vec, gen_vec = extract(S, thread)
            for number, block in enumerate(blocks):
                np.testing.assert_allclose(resp_arr[number], block.psth[50:200].mean(0))
                np.testing.assert_allclose(bsl_arr[number], block.psth[:45].mean(0), atol=1e-9)
                assert (gen_arr[number] == number + 1).all()
            assert len(resp_arr) == len(blocks)
            for joined, parts in ((resp_vec, resp_arr), (bsl_vec, bsl_arr), (gen_vec, gen_arr)):
                np.testing.assert_array_equal(joined, np.concatenate(parts))
    with pytest.raises(UsageError, match="0 is DeePSim, 1 is BigGAN"):
        extract_evol_activation_array(S, 2)


def test_pictures_come_with_their_responses(BFEStats, tmp_path):
    S, names = BFEStats[155], BFEStats.image_names(155)
    paths, resp, bsl, gen = load_img_resp_pairs(BFEStats, 155, "Evol", 1, stimdrive=tmp_path)
    assert len(paths) == len(resp) == len(bsl) == len(gen)
    first = S.threads[1].blocks[0].image_index[0]
    assert paths[0].name == f"{names[first]}.bmp"
    assert paths[0].is_relative_to(tmp_path / "Stimuli")
    np.testing.assert_array_equal(resp, extract_evol_activation_array(S, 1)[3])
    by_block = load_img_resp_pairs(BFEStats, 155, thread=1, stimdrive=tmp_path, output_fmt="arr")
    assert [len(part) for part in by_block[0]] == [b.n_images for b in S.threads[1].blocks]
    with pytest.raises(MissingDataError, match="no picture of image"):
        load_img_resp_pairs(BFEStats, 155, "natref", stimdrive=tmp_path)
    with pytest.raises(UsageError, match=r"unknown ExpType 'evol'.*Did you mean 'Evol'"):
        load_img_resp_pairs(BFEStats, 155, "evol")


def test_trajectories_are_padded_by_their_last_two_blocks():
    padded, mask, max_len = pad_resp_traj({3: np.array([[1.0], [2.0], [4.0]]), 9: np.ones((5, 1))})
    assert max_len == 5
    assert padded[0, :, 0].tolist() == [1, 2, 4, 3, 3]
    assert mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert pad_psth_traj({1: np.zeros((2, 4, 200))})[0].shape == (1, 2, 4, 200)
    with pytest.raises(UsageError, match="no trajectories"):
        pad_resp_traj({})


def test_sessions_and_areas():
    day = dt.datetime(2020, 11, 25)
    assert get_Animal_expdate("Alfa-25112020-003", "") == ("Alfa", day)
    assert [area_mapping(channel, "Alfa", day) for channel in (1, 32, 33, 48, 49, 64)] == [
        "IT", "IT", "V1", "V1", "V4", "V4",
    ]  # fmt: skip
    assert area_mapping(20, "Beto", dt.date(2021, 9, 2)) == "V1"


def test_an_experiment_tells_its_session(BFEStats):
    assert parse_meta(BFEStats[155]) == ("Alfa", dt.datetime(2020, 11, 25))
    assert get_expstr(BFEStats, 155).startswith("Exp 155 Alfa-25112020-003")


def test_a_montage_has_twelve_pictures():
    montage = np.arange(672 * 896 * 3).reshape(672, 896, 3)
    parts = parse_montage(montage)
    assert len(parts) == 12
    np.testing.assert_array_equal(parts["BG_maxblk_avg"], montage[224:448, 224:448])
    np.testing.assert_array_equal(parts["both_reevol_pix"], montage[448:, 672:])
    with pytest.raises(UsageError, match=r"expected \(672, 896\)"):
        parse_montage(montage[:-1])


def test_eleven_masks_in_the_published_order():
    meta = pd.DataFrame(
        {
            "Animal": ["Alfa", "Beto", "Beto"],
            "visual_area": ["V1", "V4", "IT"],
            "ephysFN": ["Alfa-25112020-003", "Beto-18082020-002", "Beto-01012020-001"],
            "blockN": [20, 20, 14],
            "space1": ["fc6", "fc6", "BigGAN"],
            "space2": ["BigGAN", "BigGAN_class", "BigGAN"],
            "p_maxinit_0": [0.2, 0.04, 0.9],
            "p_maxinit_1": [0.3, 0.5, np.nan],
        },
        index=[4, 7, 9],
    )
    masks = get_all_masks(meta)
    expected = [
        [1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 0], [0, 1, 0],
        [0, 1, 0], [1, 0, 1], [1, 0, 0],
    ]  # fmt: skip
    assert [mask.astype(int).tolist() for mask in masks] == expected
    assert all(mask.index.equals(meta.index) for mask in masks)


def test_every_published_call_is_in_both_modules_and_others_have_neighbours():
    for name in published_calls.__all__:
        assert getattr(neural_data_lib, name) is getattr(published_calls, name)
    with pytest.raises(AttributeError, match="Did you mean 'parse_montage'"):
        neural_data_lib.parse_montages  # noqa: B018


def test_recordings_are_a_mapping_and_tell_themselves_in_a_line(BFEStats):
    assert BFEStats.get(1) is None
    assert BFEStats.get(99_999, "none") == "none"
    with pytest.raises(KeyError, match="holds no experiment 1"):
        BFEStats[1]
    with pytest.raises(MissingDataError, match=r"^.*holds no experiment 1;.*numbers 1 to \d+\.$"):
        BFEStats[1]
    assert repr(BFEStats).endswith("12 experiments, SIMULATED)")
