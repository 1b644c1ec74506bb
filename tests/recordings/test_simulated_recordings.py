"""The simulator: its format is the real one, its truth is found again, its population fits."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import UsageError
from core.spaces import Space
from neuro_data_analysis.evolution.codes import (
    merged_codes_file,
    read_latent_codes,
    read_merged_codes,
)
from neuro_data_analysis.evolution.population import Population, collect, success_rates
from neuro_data_analysis.evolution.stats import (
    attributed_fractions,
    summarize,
    time_constants,
)
from neuro_data_analysis.experiment_list import listed_experiments
from neuro_data_analysis.matlab.values import as_matlab
from neuro_data_analysis.neural_data_lib import MAT_FILE, Recordings, load_neural_data
from neuro_data_analysis.neural_data_utils import (
    area_of_channel,
    is_reference_image,
    local_stimulus_folder,
    parse_session,
)
from neuro_data_analysis.simulation import command as simulate_recordings
from neuro_data_analysis.simulation import matroot as matroot_module
from neuro_data_analysis.simulation.assumptions import OUTCOMES
from neuro_data_analysis.simulation.effects import Effects, with_effects
from neuro_data_analysis.simulation.experiment import (
    draw_spike_density,
    simulate_experiment,
    spike_kernel,
)
from neuro_data_analysis.simulation.matroot import (
    DEFAULT_SEED,
    choose_experiments,
    simulate_matroot,
    truth_table,
)
from neuro_data_analysis.simulation.population import plan_population
from tests import paper_constants as paper
from tests.published_population import (
    PUBLISHED_4A,
    PUBLISHED_4C,
    PUBLISHED_4D,
    PUBLISHED_5A,
    PUBLISHED_BOTH,
    PUBLISHED_EXT4B,
    SHOWN_BLOCKS,
)


@pytest.fixture(scope="session")
def matroot(small_matroot):
    """Twelve experiments on disk: one of each kind."""
    return small_matroot


@pytest.fixture(scope="module")
def recordings(matroot):
    with load_neural_data(matroot) as opened:
        yield opened


@pytest.fixture(scope="module")
def plans():
    return plan_population(DEFAULT_SEED)


@pytest.fixture(scope="module")
def population(plans):
    """All 170 experiments through our own analysis, without the detour over the disk."""
    summaries = []
    for plan in plans:
        elements = [{}] * (plan.expi - 1) + [as_matlab(simulate_experiment(plan))]
        experiment = Recordings(elements, Path("memory"))[plan.expi]
        summaries.append(summarize(experiment))
    return Population(tuple(summaries), {})


@pytest.fixture(scope="module")
def threads(plans, population):
    """Truth and measurement side by side, one row per thread, index (Expi, thread)."""
    rows = truth_table(plans).set_index(["Expi", "thread"])
    rows["valid"] = population.inclusion["valid"].reindex(rows.index, level="Expi")
    for summary in population.summaries:
        constants = time_constants(summary.trajectory)
        for space in Space:
            here = (summary.info.expi, space.thread)
            rows.loc[here, "t"] = summary.tests[f"t_maxinit_{space.thread}"]
            rows.loc[here, "p"] = summary.tests[f"p_maxinit_{space.thread}"]
            rows.loc[here, "counted"] = constants[f"{space.prefix}_tc0_bslinit"]
            rows.loc[here, "half_rise_ms"] = half_rise_ms(summary.psths[space].of_block[55])
    return rows


def half_rise_ms(psth):
    """Measure when a mean PSTH reaches half of its evoked maximum, as an observer would."""
    smooth = np.convolve(psth, np.ones(9) / 9, mode="same")[:196]
    spontaneous = smooth[5:45].mean()
    half = spontaneous + (smooth.max() - spontaneous) / 2
    return float(np.argmax((smooth >= half) & (np.arange(196) >= 45)))


def test_the_file_says_that_it_is_simulated_and_holds_190_elements(matroot, recordings):
    """Attribute, header and README; experiments that were not asked for are absent."""
    assert recordings.simulated
    assert recordings.n_elements == 190
    assert list(recordings) == [3, 4, 5, 8, 23, 26, 27, 65, 79, 155, 187, 188]
    head = (matroot / MAT_FILE).read_bytes()[:116]
    assert head.startswith(b"MATLAB 7.3 MAT-file, SIMULATED recordings, seed 2031")
    assert (matroot / "README.md").read_text(encoding="utf-8").startswith("# SIMULATED")
    optimizers = pd.read_csv(matroot / "meta_optimizer_info.csv", index_col="Expi")
    assert optimizers.loc[65, "optim_names2"] == "Concat CMAES CMAES"


def test_elements_have_the_fields_of_real_ones(recordings):
    """A lab member finds every field, with the shapes that MATLAB has."""
    element = recordings.raw(155)
    assert set(element) == {
        "Animal", "color_seq", "evol", "imageName", "meta", "ref", "stim", "units",
    }  # fmt: skip
    assert element["Animal"].size == 0
    assert element["color_seq"].shape == (23, 3)
    assert set(element["evol"]) == {
        "psth", "idx_seq", "rspmat", "block_arr", "block_n", "imgpos", "imgsize", "pref_chan",
        "unit_in_pref_chan", "space_names", "space_cfg", "optim_names", "thread_num",
    }  # fmt: skip
    assert set(element["ref"]) == {"psth", "idx_seq", "rspmat"}
    assert {"ephysFN", "expControlFN", "stimuli", "wvfms", "rasterWindow"} <= set(element["meta"])
    units = element["units"]
    row = int(units["pref_chan_id"][0, 0]) - 1
    assert not units["activ_msk"][0, 0]
    assert units["spikeID"][row, 0] == recordings.info(155).pref_channel
    assert element["evol"]["space_cfg"][0, 0][0, 1].shape == (0, 0)
    first = element["evol"]["rspmat"][0, 0]
    assert not first[0].any()
    np.testing.assert_allclose(
        first[row], element["evol"]["psth"][0, 0][50:].mean(axis=0), rtol=1e-5
    )


def test_presentations_partition_the_image_names(recordings):
    """Every presentation belongs to one thread, evolved or natural, and is named accordingly."""
    for expi in (3, 155):
        experiment, names = recordings[expi], recordings.image_names(expi)
        serial = 0
        shown = []
        for block in range(experiment.n_blocks):
            for number, thread in enumerate(experiment.threads):
                evolved = sorted(names[i] for i in thread.blocks[block].image_index)
                start = f"block{block + 1:03d}_thread{number:03d}_gen_gen{block:03d}_"
                expected = [f"{start}{serial + i:06d}" for i in range(len(evolved))]
                assert evolved == expected
                serial += len(evolved)
                natural = [names[i] for i in thread.references[block].image_index]
                assert all(is_reference_image(name) for name in natural)
                assert all(f"_thread{number:03d}_nat" in name for name in natural)
                shown += [*thread.blocks[block].image_index, *thread.references[block].image_index]
        assert sorted(shown) == list(range(len(names)))
    assert any(name.startswith("block125_") and is_reference_image(name) for name in names)


def test_every_odd_form_is_in_a_small_simulation(recordings):
    """Squeezed and empty blocks, nested names, told and untold optimisers, a drift, a short one."""
    last = [thread.blocks[-1].n_images for thread in recordings[3].threads]
    assert last == [1, 4]
    assert recordings[3].threads[0].references[-1].n_images == 0
    assert recordings.raw(3)["ref"]["psth"][0, -1].shape == (200, 0)
    assert recordings.raw(4)["evol"]["space_names"][0, 0].shape == (1, 1)
    assert recordings.raw(5)["evol"]["space_names"][0, 0] == "fc6"
    assert recordings.info(65).optimizers == ("CMAES", "Concat CMAES CMAES")
    assert recordings.info(155).optimizers == (None, None)
    assert recordings.n_blocks(155) == 23
    assert recordings.n_blocks(79) == 56
    inclusion = collect(recordings).inclusion
    assert inclusion["excluded_because"].to_dict() | {4: "", 8: "", 23: ""} == dict.fromkeys(
        recordings, ""
    )
    assert inclusion.loc[8, "excluded_because"] == "14 blocks or fewer; not an fc6 and BigGAN pair"
    assert inclusion.loc[4, "excluded_because"] == "not an fc6 and BigGAN pair"
    assert inclusion.loc[23, "excluded_because"] == "unstable baseline"


def test_the_same_seed_gives_the_same_bytes(tmp_path, monkeypatch):
    """Nothing depends on the clock, nor on the process that draws; another seed, other spikes."""
    contents = []
    monkeypatch.setattr(matroot_module, "cpu_count", lambda: 2)
    for name, seed, many in (("a", 5, 1), ("b", 5, 40), ("c", 6, 40)):
        monkeypatch.setattr(matroot_module, "_MANY_TASKS", many)
        folder = simulate_matroot(tmp_path / name, seed=seed, n_experiments=1)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert len(contents[0]) > 50
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_nothing_is_written_after_a_simulation_that_failed(tmp_path, monkeypatch):
    """What another process has begun is waited for, and what it has not begun is not."""
    monkeypatch.setattr(matroot_module, "cpu_count", lambda: 2)
    monkeypatch.setattr(matroot_module, "_MANY_TASKS", 1)
    code = "import pathlib, time; p = pathlib.Path({!r}); p.touch(); time.sleep(.2); p.rename({!r})"
    begun, done = ([str(tmp_path / f"{name}{n}") for n in range(20)] for name in ("begun", "done"))
    tasks = [partial(exec, code.format(*names)) for names in zip(begun, done, strict=True)]
    with pytest.raises(ZeroDivisionError), matroot_module._in_turn(tasks) as results:
        next(results)
        while not list(tmp_path.glob("begun*")):
            time.sleep(0.01)
        raise ZeroDivisionError
    left = {path.name for path in tmp_path.iterdir()}
    assert {"done0"} <= left < {Path(name).name for name in done}


def test_an_experiment_does_not_depend_on_its_company(recordings, plans):
    """Expi 155 of twelve is Expi 155 of all."""
    plan = next(plan for plan in plans if plan.expi == 155)
    alone = simulate_experiment(plan)["evol"]["psth"]
    for thread, evolution in enumerate(recordings[155].threads):
        for block, shown in enumerate(evolution.blocks):
            np.testing.assert_array_equal(shown.psth, alone[thread, block])


def test_one_spike_contributes_what_it_does_in_real_files(rng):
    """The kernel has the values printed from the recordings; densities are sums of it."""
    printed = [2.2159, 8.7642, 26.9955, 64.7588, 120.9854, 176.0327, 199.4711]
    np.testing.assert_allclose(spike_kernel()[:7], printed, atol=5e-5)
    np.testing.assert_array_equal(spike_kernel(), spike_kernel()[::-1])
    certain = np.zeros((1, 212))
    certain[0, [50, 53]] = 1000.0  # spikes at 44 and 47 ms
    density = draw_spike_density(certain, rng)
    expected = np.zeros(212)
    for spike in (50, 53):
        expected[spike - 6 : spike + 7] += spike_kernel()
    assert density.dtype == np.float64
    np.testing.assert_array_equal(density, density.astype(np.float32))
    np.testing.assert_allclose(density[0], expected[6:206], rtol=1e-6)


def test_densities_have_the_rate_that_was_asked_for(rng):
    """The mean is the rate times what the cut-off kernel keeps (0.998)."""
    density = draw_spike_density(np.full((4000, 212), 80.0), rng)
    kept = spike_kernel().sum() / 1000
    assert density.mean() == pytest.approx(80 * kept, abs=4 * np.sqrt(80 / (4000 * 0.2)))
    values = np.unique(density)
    assert values[0] == 0
    assert values[1] == pytest.approx(2.2159, abs=1e-4)


def test_latent_codes_join_with_what_was_shown(matroot, recordings):
    """Founders drop out where they had names of their own; the last generation always does."""
    for expi, n_dropped in ((155, 30), (65, 0)):
        folder = local_stimulus_folder(recordings.info(expi).stimuli, matroot)
        names = recordings.image_names(expi)
        for thread, evolution in enumerate(recordings[expi].threads):
            latents = read_latent_codes(folder, thread)
            presentations, rows = latents.shown(names)
            shown = np.sort(np.concatenate([block.image_index for block in evolution.blocks]))
            founders = evolution.blocks[0].n_images if n_dropped else 0
            assert len(presentations) == len(shown) - founders
            assert set(presentations) <= set(shown)
            blocks = [int(names[i][5:8]) for i in presentations]
            np.testing.assert_array_equal(latents.generation[rows] + 1, blocks)
            assert (
                latents.codes.shape[1]
                == {"fc6": 4096, "BigGAN": 256, "BigGAN_class": 128}[evolution.space]
            )
    merged = read_merged_codes(matroot / merged_codes_file(3, 1))
    assert merged.codes.shape[1] == 128
    assert merged.generation.max() == recordings.n_blocks(3)


def test_the_list_of_experiments_agrees_with_our_rules():
    """Areas, unstable baselines and space pairs of the real list follow from its names."""
    listed = listed_experiments()
    areas = [
        area_of_channel(parse_session(row.ephysFN, row.expControlFN), row.prefchan)
        for row in listed.itertuples()
    ]
    assert areas == listed["visual_area"].tolist()
    assert listed["visual_area"].value_counts().to_dict() == {"IT": 116, "V4": 43, "V1": 11}
    assert set(listed.loc[listed["bsl_unstable"] == 1, "ephysFN"]) == paper.UNSTABLE_BASELINE
    pair = (listed["space1"] == "fc6") & listed["space2"].str.startswith("BigGAN")
    assert pair.astype(int).tolist() == listed["fc6_BigGAN_pair"].tolist()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_seed_keeps_the_counts_of_the_plan(seed):
    """154 valid experiments, 8 short ones, as many clear climbs as were dealt; flat is flat."""
    plans = plan_population(seed)
    table = truth_table(plans)
    table["valid"] = [
        plan.n_counted > 14 and plan.listed["fc6_BigGAN_pair"] and not plan.listed["bsl_unstable"]
        for plan in plans
        for _ in (0, 1)
    ]
    assert sum(plan.n_counted <= 14 for plan in plans) == 8
    valid = table[table["valid"].astype(bool)]
    assert valid.groupby("visual_area").size().to_dict() == {"V1": 20, "V4": 76, "IT": 212}
    clear = valid[valid["climb"] == "clear"].groupby(["visual_area", "thread"]).size()
    assert clear.to_dict() == {
        ("V1", 0): 10, ("V4", 0): 37, ("V4", 1): 18, ("IT", 0): 64, ("IT", 1): 59,
    }  # fmt: skip
    lengths = {plan.expi: plan.n_counted for plan in plans}
    assert (lengths[155], max(lengths.values())) == (23, 56)
    rising = table["climbs"]
    assert (table.loc[rising, "last_rate"] > table.loc[rising, "first_rate"]).all()
    assert (table.loc[~rising, "last_rate"] == table.loc[~rising, "first_rate"]).all()
    assert (table["first_rate"] > table["spontaneous_rate"]).all()


def test_dealt_outcomes_are_expected_to_give_the_published_counts():
    """Of flat threads 6 % pass at p < 0.01 by chance, of weak climbs a fifth, of clear ones all."""
    passes = {"clear": 1.0, "weak": 0.2, "none": 0.06}
    for area, dealt in OUTCOMES.items():
        assert sum(dealt.values()) == {"V1": 10, "V4": 38, "IT": 106}[area]
        for space in Space:
            expected = sum(n * passes[outcome[space.thread]] for outcome, n in dealt.items())
            published = PUBLISHED_4A[space][("V1", "V4", "IT").index(area)]
            assert expected == pytest.approx(published, abs=1.5), (area, space)


def test_climbing_threads_are_found_and_flat_ones_pass_more_often_than_the_level(threads):
    """Clear climbs succeed; of flat threads more pass than 1 and 5 %: the best block was picked."""
    valid = threads[threads["valid"]]
    clear = valid[valid["climb"] == "clear"]
    assert (clear["p"] < 0.01).mean() > 0.98
    assert (clear["t"] > 0).all()
    still = valid[valid["climb"] == "none"]
    assert 0.01 < (still["p"] < 0.01).mean() < 0.12
    assert 0.07 < (still["p"] < 0.05).mean() < 0.27


def test_time_constants_are_found(threads):
    """Counted blocks follow the true ones: r > 0.65, right on average within 3 blocks."""
    clear = threads[threads["valid"] & (threads["climb"] == "clear")]
    error = clear["counted"] - clear["tc0_bslinit"]
    assert stats.pearsonr(clear["counted"], clear["tc0_bslinit"]).statistic > 0.65
    assert abs(error.mean()) < 3
    assert error.abs().median() <= 4


def test_latencies_are_found_and_order_the_areas(threads):
    """Half-rise times are right within 8 ms for two threads in three; V1 < V4 < IT on average."""
    valid = threads[threads["valid"]]
    error = (valid["half_rise_ms"] - valid["latency_ms"]).abs()
    assert error.median() < 5
    assert (error < 8).mean() > 2 / 3
    for column in ("latency_ms", "half_rise_ms"):
        mean = valid.groupby("visual_area")[column].mean()
        assert mean["V1"] < mean["V4"] < mean["IT"]


def test_late_and_early_gains_are_found(threads, population):
    """The two humps fitted to what a thread gained give its true shares, and which is larger."""
    truth, found = [], []
    for plan, summary in zip(plan_population(DEFAULT_SEED), population.summaries, strict=True):
        for space in Space:
            row = threads.loc[(plan.expi, space.thread)]
            if row["climb"] != "clear" or row["last_rate"] - row["first_rate"] < 40:
                continue
            humps = np.stack(
                [hump.at(np.arange(200)) for hump in (plan.area.early, plan.area.late)]
            )
            scale = humps[:, 50:].mean(axis=1)
            rise = summary.psths[space].rise
            early, late = np.linalg.lstsq(humps.T, rise, rcond=None)[0] * scale
            truth.append(row["late_gain"] / (row["late_gain"] + row["early_gain"]))
            found.append(late / (early + late))
    truth, found = np.array(truth), np.array(found)
    assert len(truth) > 60
    assert stats.pearsonr(truth, found).statistic > 0.75
    told = abs(truth - 0.5) > 0.15
    assert (((found > 0.5) == (truth > 0.5))[told]).mean() > 0.95


def normalised_curves(population):
    """Return trajectories over their largest value, (2 spaces, n_experiments, n_blocks)."""
    means = [
        population.padded(s.trajectory.mean[space] for s in population.summaries) for space in Space
    ]
    return np.stack(means) / population.normalizer[:, None]


def test_success_counts_come_near_the_published_ones(population):
    """Figure 4A: 10/37/67 in DeePSim and 0/20/65 in BigGAN, within 5."""
    rates = success_rates(population)
    np.testing.assert_array_equal(rates["total"], [10, 38, 106])
    for space, counts in PUBLISHED_4A.items():
        np.testing.assert_allclose(rates[f"{space.prefix}_suc"], counts, atol=5)
    masks = population.masks[population.masks["valid"]]
    both = [int((masks["bothsucc005"] & masks[f"{a}msk"]).sum()) for a in ("V1", "V4", "IT")]
    np.testing.assert_allclose(both, PUBLISHED_BOTH, atol=6)


def test_normalised_curves_stay_within_a_tenth_of_figure_4c(population):
    """Group means of experiments in which both threads climb."""
    curves = normalised_curves(population)
    masks = population.masks
    for area, published in PUBLISHED_4C.items():
        chosen = masks["valid"] & masks["bothsucc005"] & masks[f"{area}msk"]
        means = curves[:, chosen.to_numpy()][:, :, SHOWN_BLOCKS].mean(axis=1)
        off = 0.15 if area == "V1" else 0.1  # of V1 there are two experiments or three
        np.testing.assert_allclose(means, published, atol=off, err_msg=area)


def test_initial_and_last_differences_are_those_of_figure_4b(population):
    """BigGAN starts higher everywhere; DeePSim ends higher in V1 and V4, and not in IT."""
    curves = normalised_curves(population)
    masks = population.masks
    for area in ("V1", "V4", "IT"):
        chosen = (masks["valid"] & masks["anysucc005"] & masks[f"{area}msk"]).to_numpy()
        first, last = (
            stats.ttest_rel(*curves[:, chosen, block]) for block in (0, -1)
        )
        assert first.statistic < 0
        assert first.pvalue < 0.01
        assert (last.pvalue < 0.01) == (area != "IT")
        assert (last.statistic > 0) == (area != "IT")


def test_mean_time_constants_are_those_of_figure_4d(population):
    """Blocks to 0.8 of the rise, within 3 of the published means."""
    masks = population.masks
    for (area, space), mean in PUBLISHED_4D.items():
        chosen = masks["valid"] & masks[f"{space.prefix}succ001"] & masks[f"{area}msk"]
        found = population.time_constants.loc[chosen, f"{space.prefix}_tc0_bslinit"].mean()
        assert found == pytest.approx(mean, abs=3), (area, space)


def test_responses_unfold_as_in_figure_5a(population):
    """Mean PSTHs of the first and the late block, within 0.2 of the published ones."""
    masks = population.masks
    for (block, area, space), published in PUBLISHED_5A.items():
        chosen = (masks["valid"] & masks["anysucc005"] & masks[f"{area}msk"]).to_numpy()
        psths = np.stack([s.psths[space].of_block[block] for s in population.summaries])
        mean = (psths / population.normalizer[:, None])[chosen].mean(axis=0)
        found = mean[list(published)]
        np.testing.assert_allclose(
            found, list(published.values()), atol=0.2, err_msg=f"{block} {area} {space}"
        )


def test_gains_unfold_as_in_extended_figure_4b(population):
    """Shares of three 50-ms bins within 0.1; texture gains early in V4 and IT, objects late."""
    masks = population.masks
    fractions = {
        space: attributed_fractions(
            np.stack([s.psths[space].rise for s in population.summaries]), 50
        )
        for space in Space
    }
    means = {}
    for (area, space), published in PUBLISHED_EXT4B.items():
        chosen = masks["valid"] & masks[f"{space.prefix}succ001"] & masks[f"{area}msk"]
        means[area, space] = fractions[space][chosen.to_numpy()].mean(axis=0)
        np.testing.assert_allclose(means[area, space][1:], published, atol=0.1)
    for area in ("V4", "IT"):
        difference = means[area, Space.DEEPSIM] - means[area, Space.BIGGAN]
        assert difference[1] > 0.03
        assert difference[3] < -0.02


#: Variance over mean of the spike counts (50-200 ms) of single images, median over valid sites, in
#: real blocks: area → DeePSim first, last, BigGAN first, last.
REAL_FANO = {"V1": (2.35, 1.09, 2.21, 1.63), "V4": (1.60, 1.02, 1.60, 1.05),
             "IT": (1.23, 1.06, 1.13, 0.96)}  # fmt: skip


def test_spike_counts_scatter_as_those_of_real_blocks(population):
    """More in first blocks than in those that a climb ends with; within 0.6 of the real medians."""
    activations, masks = population.activations, population.masks
    for area, real in REAL_FANO.items():
        chosen = masks["valid"] & masks[f"{area}msk"]
        found = []
        for space in Space:
            for block in ("initrsp", "endrsp"):
                mean, std, sem = (
                    activations.loc[chosen, f"{block}_{space.thread}_{what}"]
                    for what in ("mean", "std", "sem")
                )
                found.append(((std**2 + sem**2) * 0.15 / mean).median())
        np.testing.assert_allclose(found, real, atol=0.6, err_msg=area)
        assert found[0] > found[1]


def test_images_vary_less_as_a_thread_climbs_and_alike_where_it_does_not(plans):
    for plan in plans[::20]:
        for which, thread in enumerate(plan.threads):
            cv = plan.image_cv(which)
            assert cv[0] == pytest.approx(0.4)
            assert cv[-1] == pytest.approx(0.4 if thread.climb == "none" else 0.12)


def test_the_example_is_that_of_figure_2b(recordings):
    """Expi 155: DeePSim 134 → 269, BigGAN 202 → 257, baseline 50-84, natural images 145-187."""
    summary = summarize(recordings[155])
    deepsim, biggan = (summary.trajectory.mean[space] for space in Space)
    np.testing.assert_allclose([deepsim[0], biggan[0]], [134, 202], atol=20)
    np.testing.assert_allclose([deepsim[-1], biggan[-1]], [269, 257], atol=20)
    baseline = np.stack(list(summary.trajectory.baseline.values()))
    assert baseline.min() > 40
    assert baseline.max() < 95
    for thread in recordings[155].threads:
        natural = [block.psth[50:].mean() for block in thread.references]
        assert 130 < np.mean(natural) < 200


@pytest.mark.parametrize("n_experiments", [0, -1, 171])
def test_impossible_numbers_of_experiments_are_refused(tmp_path, n_experiments, plans):
    """Between 1 and 170; nothing is written."""
    with pytest.raises(UsageError, match="between 1 and 170"):
        simulate_matroot(tmp_path / "x", n_experiments=n_experiments)
    assert not (tmp_path / "x").exists()
    assert len(choose_experiments(plans, 170)) == len(choose_experiments(plans, None)) == 170
    assert [plan.expi for plan in choose_experiments(plans, 1)] == [155]


def test_the_command_line_simulates_and_reports_mistakes(tmp_path, capsys):
    """One sentence on success and on failure, with the exit code of the kind of failure."""
    folder = tmp_path / "matroot"
    arguments = ["--output", str(folder), "--experiments", "1", "--seed", "3"]
    assert simulate_recordings.main(arguments) == 0
    assert f"simulated recordings are in {folder}" in capsys.readouterr().out
    assert simulate_recordings.main(["--output", str(folder), "--experiments", "0"]) == 2
    (tmp_path / "file").write_text("in the way")
    assert simulate_recordings.main(["--output", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        simulate_recordings.main(["--help"])
    assert stopped.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_a_null_simulation_neither_climbs_nor_falls(tmp_path):
    """Truth, expected rates and README say so; the first block is that of the ordinary one."""
    folder = simulate_matroot(tmp_path / "null", seed=3, n_experiments=1, null=True)
    truth = pd.read_csv(folder / "truth.csv")
    assert not truth["climbs"].any()
    np.testing.assert_array_equal(truth["first_rate"], truth["last_rate"])
    assert "false positive" in (folder / "README.md").read_text()
    plan = next(plan for plan in plan_population(3) if plan.expi == 155)
    time_ms = np.arange(200.0)
    for thread in (0, 1):
        flat, climbing = (p.evoked_rates(thread, time_ms) for p in (plan.without_climb(), plan))
        np.testing.assert_allclose(flat, np.broadcast_to(flat[0], flat.shape))
        np.testing.assert_allclose(flat[0], climbing[0])
        assert abs(climbing[-1] - climbing[0]).max() > 1


def climbing(plans, area, thread):
    return sum(
        plan.threads[thread].climb == "clear" for plan in plans
        if plan.listed["visual_area"] == area
    )  # fmt: skip


def test_counts_of_success_are_dealt_or_left_to_chance():
    """Dealt counts are the same for every seed; drawn ones vary like those of a sample."""
    dealt = [plan_population(seed) for seed in range(3)]
    drawn = [with_effects(dealt[0], Effects(drawn=True), seed) for seed in range(60)]
    n = sum(plan.listed["visual_area"] == "IT" for plan in dealt[0])
    counts = [climbing(plans, "IT", 0) for plans in drawn]
    rate = climbing(dealt[0], "IT", 0) / n
    assert np.std(counts) == pytest.approx(np.sqrt(n * rate * (1 - rate)), rel=0.35)
    assert np.mean(counts) == pytest.approx(n * rate, abs=3)
    assert all(one.n_counted == other.n_counted
               for one, other in zip(drawn[0], dealt[0], strict=True))  # fmt: skip
    assert with_effects(dealt[0], Effects(), 5) == dealt[0]


RATES = ("first_rate", "last_rate")


def log_ratio(plan, rate):
    """ln(DeePSim / BigGAN) of a rate of an experiment."""
    deepsim, biggan = (getattr(thread, rate) for thread in plan.threads)
    return np.log(deepsim / biggan)


def test_sites_and_animals_tilt_all_experiments_of_their_own():
    """One factor a site: DeePSim over BigGAN, in every block, and no rate below the baseline."""
    plans = plan_population(3)
    tilted = with_effects(plans, Effects(site_sd=0.3, animal_sd=0.2), 3)
    by_site = {}
    for plan, other in zip(plans, tilted, strict=True):
        ratio = [log_ratio(other, rate) - log_ratio(plan, rate) for rate in RATES]
        assert ratio[0] == pytest.approx(ratio[1])
        site = (plan.listed["animal"], plan.listed["prefchan"], plan.listed["prefunit"])
        by_site.setdefault(site, []).append(ratio[0])
        assert other.spontaneous_rate < min(getattr(t, r) for t in other.threads for r in RATES)
    assert max(np.ptp(ratios) for ratios in by_site.values()) < 1e-12
    assert max(map(len, by_site.values())) > 1
    of_animal = {a: [r[0] for site, r in by_site.items() if site[0] == a] for a in ("Alfa", "Beto")}
    for ratios in of_animal.values():
        assert np.std(ratios) == pytest.approx(0.3, rel=0.35)


def test_the_command_names_the_effects_in_the_readme(tmp_path, capsys):
    folder = tmp_path / "made"
    arguments = ["--output", str(folder), "--experiments", "1", "--drawn", "--site-sd", "0.25"]
    assert simulate_recordings.main(arguments) == 0
    readme = (folder / "README.md").read_text()
    assert "drawn among the experiments of each area" in readme
    assert "varies by 0.25 from site to site" in readme
