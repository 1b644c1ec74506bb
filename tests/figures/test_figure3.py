"""Figure 3: from montages and evolutions to tables, and from tables to panels."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.published import not_computed
from core.source_tables.provenance import Provenance, write_provenance
from core.source_tables.reader import SourceData, write_table, write_tables
from core.source_tables.registry import ACTIVATION_COLUMNS, META_COLUMNS, SIMILARITY_COLUMNS
from core.utils.scoring import network_input
from core.utils.scoring import perception as feature_networks
from core.utils.scoring.classifiers import Classifier
from figure_reproduction.Figure3_reproduction import (
    FIGURE,
    READS,
    choose_prototypes,
    correlate,
    missing_columns,
)
from figure_reproduction.page.page import PrintJob, print_figure
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.similarity.montages import cut_cell, montage_file, read_montage
from neuro_data_analysis.similarity.tables import (
    DEMONSTRATION_FEATURES,
    FeatureSettings,
    draw_alternates,
    export_figure3,
    figure3_provenance,
    prototype_similarities,
)
from neuro_data_analysis.simulation.matroot import DEFAULT_SEED
from neuro_data_analysis.simulation.packaged_similarities import (
    PACKAGED_COLUMNS,
    packaged_similarities,
    read_packaged,
)
from neuro_data_analysis.simulation.population import plan_population
from neuro_data_analysis.simulation.prototypes import (
    TRUTH_FILE,
    prototype_truth,
    read_truth,
    simulate_prototypes,
)
from source_data_export import exports
from tests import panels
from tests.evolutions import make_experiment
from tests.golden import pictures_in_memory
from tests.panels import show

#: (number, recording) of some evolutions; all recorded from channel 12.
EXPERIMENTS = (
    (3, "Alfa-25112020-003"),
    (6, "Beto-27072020-002"),
    (7, "Alfa-26112020-003"),
    (155, "Beto-28072020-002"),
)


def read_prototypes(folder):
    """Read the tables of a folder and choose the prototypes that are drawn."""
    return choose_prototypes(*SourceData(folder).gather("Fig3", READS).tables)


class TinyResNet(nn.Module):
    """Layers of the names and map sizes of a ResNet50, and little else."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Conv2d(3, 4, 16, 16)
        self.layer4 = nn.Conv2d(4, 5, 2, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.avgpool(self.layer4(self.layer3(x).relu()))


def tiny_network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyResNet().eval().requires_grad_(False)


@pytest.fixture
def _tiny_network(monkeypatch):
    """Take the tiny network for the untrained ResNet50."""
    load = feature_networks.load_classifier

    def load_tiny(name, *, pretrained, weights, seed):
        if pretrained or name != "resnet50_linf8":
            return load(name, pretrained=pretrained, weights=weights, seed=seed)
        return Classifier(name, tiny_network(seed), False, f"untrained, seed {seed}")

    monkeypatch.setattr(feature_networks, "load_classifier", load_tiny)


@pytest.fixture(scope="module")
def population():
    rng = np.random.default_rng(3)
    gains = [1 + np.linspace(0, 1, 16)] * 2
    experiments = [
        make_experiment(rng, [[12] * 16] * 2, gains=gains, expi=expi, ephys_name=name)
        for expi, name in EXPERIMENTS
    ]
    return Population(tuple(summarize(experiment) for experiment in experiments), {})


@pytest.fixture(scope="module")
def prototypes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prototypes")
    simulate_prototypes(folder, DEFAULT_SEED, [expi for expi, _ in EXPERIMENTS])
    return folder


@pytest.fixture
def similarity(population, prototypes, _tiny_network):
    similarity, _ = export_figure3(population, prototypes, DEMONSTRATION_FEATURES)
    return similarity.value


@pytest.mark.usefixtures("_tiny_network")
def test_the_export_writes_both_tables_with_the_same_rows(population, prototypes, tmp_path):
    tables = export_figure3(population, prototypes, DEMONSTRATION_FEATURES)
    origin = figure3_provenance(Provenance("simulated"), DEMONSTRATION_FEATURES)
    write_tables(tmp_path, "Fig3", tables, origin)
    table = pd.read_csv(tmp_path / "Fig3" / "Fig3G_proto_imdist_psth_covstr_sim_df.csv")
    meta = pd.read_csv(tmp_path / "Fig3" / "Fig3_meta_df.csv")
    assert table.columns[:3].tolist() == ["Unnamed: 0", "Expi", "cosine_reevol_resnet_L3_m"]
    assert meta.columns.tolist() == [
        "Unnamed: 0", "Expi", *META_COLUMNS, *ACTIVATION_COLUMNS, "valid",
    ]  # fmt: skip
    assert table["Expi"].tolist() == meta["Expi"].tolist() == [3, 6, 7, 155]
    assert meta["valid"].tolist() == [True] * 4
    assert table["Expi_alt"].isin([3, 6, 7, 155]).all()
    assert table["Expi_alt"].dtype == int
    source = SourceData(tmp_path)
    pd.testing.assert_frame_equal(
        source.read("Fig3/similarity")[list(ACTIVATION_COLUMNS)],
        source.read("Fig3/meta")[list(ACTIVATION_COLUMNS)],
    )


def test_a_resnet_gives_its_columns_and_no_others(similarity):
    names = {"Expi", *SIMILARITY_COLUMNS["cosines within the border"],
             *SIMILARITY_COLUMNS["differences of responses"], *META_COLUMNS, *ACTIVATION_COLUMNS,
             *(n for n in SIMILARITY_COLUMNS["cosines of whole maps"] if "resnet" in n),
             *(n for n in SIMILARITY_COLUMNS["cosines in focus"] if "RNrobust" in n)}  # fmt: skip
    assert set(similarity.columns) == names


def test_columns_hold_the_cosines_of_the_cut_prototypes(similarity, prototypes):
    """Prototype by prototype and row by row, with the tiny network applied by hand."""
    network = tiny_network()

    def pooled(expi, thread, prototype, inner=False):
        picture = cut_cell(read_montage(prototypes / montage_file(expi)), thread, prototype)
        normalised = (picture - network_input.IMAGENET_MEAN) / network_input.IMAGENET_SD
        tensor = torch.from_numpy(normalised).float().permute(2, 0, 1)[None]
        features = network.layer4(network.layer3(tensor).relu())[0].numpy()
        return (features[:, 1:6, 1:6] if inner else features).mean((1, 2))

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    for _, row in similarity.iterrows():
        expi, alternate = int(row["Expi"]), int(row["Expi_alt"])
        for column, prototype in (
            ("cosine_reevol_resnet_avgpool", "reevol_G"),
            ("cosine_maxblk_resnet_avgpool", "maxblk"),
            ("reevol_pix_RNrobust_L4all", "reevol_pix"),
        ):
            vectors = (pooled(expi, thread, prototype) for thread in ("FC", "BG"))
            assert row[column] == pytest.approx(cosine(*vectors), abs=1e-5)
        own = [pooled(expi, t, "reevol_pix", inner=True) for t in ("FC", "BG")]
        other = [pooled(alternate, t, "reevol_pix", inner=True) for t in ("FC", "BG")]
        found = row[["reevol_pix_resnet_L4", "reevol_pix_resnet_L4_BGalt",
                     "reevol_pix_resnet_L4_FCalt"]].to_numpy(dtype=float)  # fmt: skip
        expected = [cosine(*own), cosine(own[0], other[1]), cosine(other[0], own[1])]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_alternates_are_of_another_site_and_seeded(rng):
    meta = pd.DataFrame(
        {"Animal": ["Alfa", "Alfa", "Beto", "Beto"] * 10, "prefchan": [5, 5, 5, 6] * 10},
        index=pd.Index(range(1, 41), name="Expi"),
    )
    drawn = draw_alternates(meta, np.random.default_rng(1))
    sites = meta.to_records(index=False).tolist()
    for row, alternate in enumerate(drawn):
        assert sites[row] != sites[int(alternate) - 1]
    np.testing.assert_array_equal(drawn, draw_alternates(meta, np.random.default_rng(1)))
    assert (drawn != draw_alternates(meta, np.random.default_rng(2))).any()
    assert np.isnan(draw_alternates(meta.iloc[:2], rng)).all()  # one site: there is no other


@pytest.mark.usefixtures("_tiny_network")
def test_experiments_without_a_montage_are_left_out_and_named(
    population, prototypes, tmp_path, caplog
):
    for expi in (3, 155):
        (tmp_path / montage_file(expi)).write_bytes((prototypes / montage_file(expi)).read_bytes())
    with caplog.at_level(logging.WARNING):
        tables = list(export_figure3(population, tmp_path, DEMONSTRATION_FEATURES))
    assert [table.value["Expi"].tolist() for table in tables] == [[3, 155]] * 2
    assert "2 experiments have no prototype montage" in caplog.text
    assert "6, 7" in caplog.text


@pytest.mark.parametrize(
    ("settings", "spoil", "error", "problem"),
    [
        (DEMONSTRATION_FEATURES, lambda f: f.unlink(), MissingDataError, "holds no prototype"),
        (DEMONSTRATION_FEATURES, lambda f: f.write_bytes(b""), MalformedDataError, "readable"),
        (FeatureSettings(weights={"resnet50_linf8": "gone.pt"}), None, MissingDataError, "gone.pt"),
        (FeatureSettings(pretrained=False, device="tpu"), None, UsageError, "device"),
    ],
    ids=["no montage", "empty montage", "weights", "device"],
)
@pytest.mark.usefixtures("_tiny_network")
def test_what_stops_an_export_is_said(
    population, prototypes, tmp_path, settings, spoil, error, problem
):
    path = tmp_path / montage_file(3)
    path.write_bytes((prototypes / path.name).read_bytes())
    if spoil:
        spoil(path)
    with pytest.raises(error, match=problem):
        list(export_figure3(population, tmp_path, settings))


def test_settings_know_their_networks():
    with pytest.raises(UsageError, match="Known: resnet50_linf8, alexnet, vgg16, vit_base"):
        FeatureSettings(("resnet50",))
    with pytest.raises(UsageError, match="unknown network 'resnet'"):
        FeatureSettings(weights={"resnet": "file.pt"})


def test_the_origin_tells_networks_and_weights():
    trained = FeatureSettings(weights={"resnet50_linf8": "/data/imagenet_linf_8_pure.pt"})
    both = FeatureSettings(("resnet50_linf8", "vgg16"))
    assert figure3_provenance(Provenance("simulated"), DEMONSTRATION_FEATURES).kind == "simulated"
    assert figure3_provenance(Provenance("recordings"), DEMONSTRATION_FEATURES).kind == "untrained"
    origin = figure3_provenance(Provenance("recordings", {"sha256": "0"}), trained)
    assert origin.kind == "recordings"
    assert origin.details["networks"] == "resnet50_linf8: imagenet_linf_8_pure.pt"
    assert origin.details["sha256"] == "0"
    assert both.origin == "resnet50_linf8: published weights; vgg16: published weights"


def test_without_torch_the_demonstration_uses_packaged_similarities(
    population, prototypes, monkeypatch
):
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    matroot = SimpleNamespace(
        population=population,
        prototypes=prototypes,
        features=DEMONSTRATION_FEATURES,
        provenance=Provenance("simulated"),
    )
    similarity, meta = exports.EXPORTS["Fig3"].tables(matroot)
    assert set(PACKAGED_COLUMNS) < set(similarity.value.columns)
    assert len(similarity.value) == len(meta.value) == 4
    origin = exports.EXPORTS["Fig3"].provenance(matroot)
    assert origin.details["similarities"] == "computed beforehand, part of this software"


def _another_seed(folder):
    read_truth(folder).assign(seed=1).to_csv(folder / TRUTH_FILE)


@pytest.mark.parametrize(
    ("settings", "spoil"),
    [
        (FeatureSettings(("vgg16",), pretrained=False), None),
        (DEMONSTRATION_FEATURES, lambda folder: (folder / TRUTH_FILE).unlink()),
        (DEMONSTRATION_FEATURES, _another_seed),
    ],
    ids=["other network", "real montages", "other seed"],
)
def test_without_torch_other_similarities_say_what_to_install(
    population, tmp_path, settings, spoil
):
    simulate_prototypes(tmp_path, DEFAULT_SEED, [3])
    if spoil:
        spoil(tmp_path)
    with pytest.raises(MissingDataError, match="pip install"):
        export = export_figure3(
            population, tmp_path, settings, similarities=packaged_similarities
        )
        list(export)


def test_a_note_of_the_simulator_that_is_none_is_refused(tmp_path):
    (tmp_path / TRUTH_FILE).write_text("a,b\n1,2\n")
    with pytest.raises(MalformedDataError, match="not a note of the simulator"):
        packaged_similarities(tmp_path, pd.DataFrame(index=[3]))


def test_packaged_similarities_are_of_the_prototypes_that_the_simulator_draws():
    """If this fails, run ``python -m neuro_data_analysis.simulation.packaged_similarities``."""
    known = read_packaged()
    truth = prototype_truth(plan_population(DEFAULT_SEED), DEFAULT_SEED)
    pd.testing.assert_frame_equal(known[["seed", "shared_content"]], truth, atol=1e-6, rtol=0)
    assert not known.isna().any(axis=None)
    for column in ("cosine_reevol_resnet_avgpool", "reevol_pix_RNrobust_L4focus"):
        assert stats.spearmanr(truth["shared_content"], known[column]).statistic > 0.3


def test_packaged_similarities_are_what_the_untrained_resnet50_finds(tmp_path):
    """One experiment computed anew, with torch."""
    simulate_prototypes(tmp_path, DEFAULT_SEED, [155])
    sites = pd.DataFrame({"Animal": ["Alfa"], "prefchan": [12]}, index=pd.Index([155], name="Expi"))
    computed = prototype_similarities(tmp_path, sites, DEMONSTRATION_FEATURES)
    packaged = packaged_similarities(tmp_path, sites)
    names = list(PACKAGED_COLUMNS)
    np.testing.assert_allclose(computed[names], packaged[names], atol=5e-5)


@pytest.fixture
def drawn(rng):
    """Return tables with a planted correlation: 60 experiments, of which 40 are to be drawn."""
    areas = np.array(["IT", "V4", "V1"])[np.arange(60) % 3]
    similarity = rng.uniform(0.4, 0.9, 60)
    table = pd.DataFrame(
        {
            "Expi": np.arange(101, 161),
            "cosine_reevol_resnet_avgpool": similarity,
            "reevol_pix_RNrobust_L4focus": rng.uniform(0.4, 0.7, 60),
            "psth_MAE": 0.8 - 0.6 * similarity + 0.1 * rng.random(60),
            "act_MAE": rng.random(60) / 4,
            "visual_area": areas,
        }
    )
    names = ("Expi", *META_COLUMNS, *ACTIVATION_COLUMNS)
    meta = pd.DataFrame(dict.fromkeys(names, np.nan), index=range(60))
    p = np.where(np.arange(60) < 40, 0.04, 0.06)
    texts = dict.fromkeys(("Animal", "expdate", "ephysFN", "space1", "space2"), "x")
    known = {"Expi": table["Expi"], "visual_area": areas, "prefchan": 1, "prefunit": 1,
             "blockN": 20, "p_maxinit_0": p, "p_maxinit_1": 0.001, "valid": True}  # fmt: skip
    meta = meta.assign(**texts, **known, optim_names1=None, optim_names2=None)
    return table, meta


def _write(folder, table, meta=None):
    write_table(folder, "Fig3/similarity", table)
    if meta is not None:
        write_table(folder, "Fig3/meta", meta)
    return folder


def _statistics(output):
    panels = json.loads((output / "Figure3.json").read_text())["panels"]
    return {
        (panel, s["quantity"], s["area"]): s["value"]
        for panel, entry in panels.items()
        for s in entry["statistics"]
    }


def test_the_figure_states_every_published_number(tmp_path, drawn):
    table, meta = drawn
    _write(tmp_path, table, meta)
    with pictures_in_memory():
        printed = print_figure(FIGURE, PrintJob(tmp_path, tmp_path / "out", ("png",)))
    assert printed.problems == {}
    assert [path.name for path in printed.pictures] == [
        "3G_avgpool_psth.png", "3G_L4focus_psth.png", "3G_avgpool_act.png", "3G_L4focus_act.png",
        "Figure3.png",
    ]  # fmt: skip
    found = _statistics(tmp_path / "out")
    chosen = table[:40]
    for column in ("cosine_reevol_resnet_avgpool", "reevol_pix_RNrobust_L4focus"):
        for difference in ("psth_MAE", "act_MAE"):
            expected = stats.pearsonr(chosen[column], chosen[difference])
            name = f"{difference} vs {column}"
            values = {q: v for (_, q, _), v in found.items() if q.endswith(name)}
            assert values[f"pearson_r {name}"] == pytest.approx(expected.statistic)
            assert values[f"pearson_p {name}"] == pytest.approx(expected.pvalue)
            assert values[f"n {name}"] == 40
    assert [found["3G_experiments", "n", area] for area in AREAS] == [13, 13, 14]
    panels = [panel.name for panel in FIGURE.panels]
    told = [
        (panel.name, statistic)
        for panel in FIGURE.panels
        for statistic in show(FIGURE, panel.name, SourceData(tmp_path)).statistics
    ]
    assert list(not_computed(panels, told)) == []


def test_the_picture_shows_the_selected_rows_and_says_what_they_are(tmp_path, drawn):
    table, meta = drawn
    table.loc[0, "psth_MAE"] = np.nan  # the first IT experiment has no PSTH
    shown = show(FIGURE, "3G_avgpool_psth", SourceData(_write(tmp_path, table, meta)))
    figure = panels.drawn(shown.drawings["3G_avgpool_psth"].draw)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "V1 ($n$ = 13)", "V4 ($n$ = 13)", "IT ($n$ = 13)",
    ]  # fmt: skip
    of_v4 = table[:40].query("visual_area == 'V4'")
    points = np.asarray(axes.collections[1].get_offsets())
    np.testing.assert_allclose(points, of_v4[["cosine_reevol_resnet_avgpool", "psth_MAE"]])
    assert "Cosine similarity of robust-ResNet50 features" in axes.get_xlabel()
    assert "Mean absolute PSTH difference" in axes.get_ylabel()
    assert "$n$ = 39" in axes.get_title()


def test_untrained_features_are_called_so_on_the_axis(tmp_path, drawn):
    folder = _write(tmp_path, *drawn)
    details = {"networks": DEMONSTRATION_FEATURES.origin}
    write_provenance(folder / "Fig3", Provenance("simulated", details))
    assert read_prototypes(folder).network == "UNTRAINED-ResNet50"


def test_rows_are_matched_by_experiment_not_by_place(tmp_path, drawn):
    """A table of fewer rows, in another order, draws the same points."""
    table, meta = drawn
    shuffled = table[:50].sample(frac=1, random_state=0)
    whole = read_prototypes(_write(tmp_path / "a", table, meta))
    part = read_prototypes(_write(tmp_path / "b", shuffled, meta))
    found, expected = (
        correlate(data, "cosine_reevol_resnet_avgpool", "psth_MAE") for data in (part, whole)
    )
    assert found.r == pytest.approx(expected.r)
    assert found.n == expected.n == 40


@pytest.mark.parametrize("with_expi", [True, False])
def test_a_table_of_the_drawn_rows_alone_is_drawn_whole(tmp_path, drawn, caplog, with_expi):
    """Five columns without anything beside them; what is missing is reported."""
    table, _ = drawn
    rows = table[:40] if with_expi else table[:40].drop(columns="Expi")
    job = PrintJob(_write(tmp_path, rows), tmp_path / "out", ("png",))
    with caplog.at_level(logging.INFO), pictures_in_memory():
        printed = print_figure(FIGURE, job)
    assert printed.problems == {}
    found = _statistics(tmp_path / "out")
    name = "psth_MAE vs cosine_reevol_resnet_avgpool"
    assert found["3G_avgpool_psth", f"n {name}", ""] == 40
    assert found["3G_experiments", "selection", ""] == "all rows of the table"
    assert "44 of 45 columns of experiment" in found["3G_experiments", "columns_missing", ""]
    assert "53 of 54 columns of cosines in focus" in caplog.text


def test_the_selection_is_also_found_in_the_table_itself(tmp_path, drawn):
    """All columns of the published table, but no table of experiments beside it."""
    table, meta = drawn
    meta = meta.assign(ephysFN="Alfa-25112020-003", space1="fc6", space2="BigGAN_class")
    meta.loc[0, "blockN"] = 14  # too short to count
    joined = table.join(meta[[*META_COLUMNS]].drop(columns="visual_area"))
    data = read_prototypes(_write(tmp_path, joined))
    assert data.selected.tolist() == [False, *[True] * 39, *[False] * 20]
    assert missing_columns(joined).startswith("13 of 14 columns of cosines of whole maps; 19 of 19")


def test_areas_may_come_from_either_table(tmp_path, drawn):
    table, meta = drawn
    data = read_prototypes(_write(tmp_path, table.drop(columns="visual_area"), meta))
    assert data.table["visual_area"].tolist() == table["visual_area"].tolist()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t, m: (t.drop(columns="psth_MAE"), m), "missing column psth_MAE"),
        (lambda t, m: (t.drop(columns=["Expi", "visual_area"]), None), "lacks the column visual"),
        (lambda t, m: (t, m[1:]), "lacks experiment 101"),
        (lambda t, m: (t[:40].drop(columns="Expi"), m), "40 rows without a column Expi"),
        (lambda t, m: (t.assign(act_MAE="high"), m), "column 'act_MAE' holds 'high'"),
    ],
    ids=["no PSTH", "no area", "other experiments", "no numbers", "text"],
)
def test_tables_that_cannot_be_drawn_say_why(tmp_path, drawn, change, problem):
    table, meta = change(*drawn)
    (tmp_path / "Fig3").mkdir()
    table.to_csv(tmp_path / "Fig3" / "Fig3G_proto_imdist_psth_covstr_sim_df.csv")
    if meta is not None:
        write_table(tmp_path, "Fig3/meta", meta)
    with pytest.raises(MalformedDataError, match=problem):
        read_prototypes(tmp_path)


def test_too_few_points_have_no_correlation(tmp_path, drawn):
    table, meta = drawn
    meta = meta.assign(valid=[True, True, *[False] * 58])
    shown = show(FIGURE, "3G_avgpool_psth", SourceData(_write(tmp_path, table, meta)))
    found = {one.quantity.partition(" ")[0]: one.value for one in shown.statistics}
    assert found["n"] == 2
    assert np.isnan([found["pearson_r"], found["pearson_p"]]).all()
    panels.drawn(shown.drawings["3G_avgpool_psth"].draw)
