"""Extended Figure 5: its tables, their origin file by file, and its three panels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.insilico.extended_figure5_tables import (
    FIGURE as FOLDER,
)
from core.insilico.extended_figure5_tables import (
    export_extended_figure5,
    extended_figure5_provenance,
    save_tables,
)
from core.insilico.extended_figure5_tables import (
    main as export_main,
)
from core.published import published_values
from core.source_tables.provenance import Provenance, read_provenance, write_provenance
from core.source_tables.reader import SourceData, Table, write_tables
from core.spaces import Space
from figure_reproduction import FigureExt5_reproduction as ext5
from figure_reproduction.FigureExt5_reproduction import (
    FIGURE,
    compute_5c,
    compute_linearity,
    dead_units,
    draw_5c,
    draw_linearity,
    rank_correlations,
    tell_5c,
    tell_linearity,
)
from figure_reproduction.page import inline
from figure_reproduction.page.page import PrintJob, print_figure
from tests.golden import pictures_in_memory
from tests.notebooks import run_here
from tests.panels import drawn
from tests.paper_constants import (
    CAFFENET_LAYERS,
    LINEARITY_DRAWS,
    LINEARITY_METRICS,
    RELU_LAYERS,
)

ROOT = Path(__file__).resolve().parents[2]
DEPTH = {layer: place for layer, place, _ in CAFFENET_LAYERS}

COMPUTED = Provenance("computed", {"command": "a"})
UNTRAINED = Provenance("untrained", {"command": "b"})


def alignment(value=0.5, dimensions=(2, 4), depths=(0, 8), seeds=(40, 41, 42)):
    rows = pd.MultiIndex.from_product(
        [dimensions, depths, seeds], names=["dimension", "stack_size", "seed"]
    ).to_frame(index=False)
    return rows.assign(gaussian_value=value)


def linearity(space, rng, units=12, slope=0.02):
    """Return a table whose first metric grows with the depth of the layer, others being noise."""
    counts = {layer: min(units, n_units) for layer, _, n_units in CAFFENET_LAYERS}
    layers = np.repeat(list(counts), list(counts.values()))
    metrics = {name: 0.01 * rng.standard_normal(len(layers)) for name in LINEARITY_METRICS[space]}
    depth = pd.Series(layers).map(DEPTH)
    targets = np.concatenate([np.arange(n) for n in counts.values()])
    table = pd.DataFrame({"Layer": layers, "Target": targets, **metrics})
    if space == "BigGAN":
        table["Target"] = [f"({unit},)" for unit in targets]
    else:
        for end in ("top", "null"):
            for size in (256, 128):
                table[f"Test_R2_{end}_Hess{size}"] = 0.0
    table["Test_R2"] = slope * depth
    return table


def test_files_of_a_folder_can_have_other_origins(tmp_path):
    """What bears a mark wins over what does not; the folder's own origin is that of the rest."""
    origin = Provenance("computed", {"seed": "1"}, {"b.csv": UNTRAINED, "c.csv": COMPUTED})
    write_provenance(tmp_path, origin)
    read = read_provenance(tmp_path)
    assert read == origin
    assert read.of(["a.csv"]) == Provenance("computed", {"seed": "1"})
    assert read.of(["a.csv", "b.csv"]) == read.of(["b.csv", "c.csv"]) == UNTRAINED
    assert read.of(["c.csv", "a.csv"]) == COMPUTED
    assert read.of([]) == read.of(["a.csv"])


@pytest.mark.parametrize("files", [["b.csv"], {"b.csv": {"kind": "guessed", "details": {}}}])
def test_a_note_of_origin_that_is_none_is_refused(tmp_path, files):
    note = {"kind": "computed", "details": {}, "files": files}
    (tmp_path / "provenance.json").write_text(json.dumps(note))
    with pytest.raises(MalformedDataError, match="provenance"):
        read_provenance(tmp_path)


def test_a_source_tells_the_origin_of_what_was_read(tmp_path):
    save_tables(tmp_path, [Table("ExtendedFig5/alignment_Adam", alignment())], COMPUTED)
    biggan = linearity("BigGAN", np.random.default_rng(0))
    save_tables(tmp_path, [Table("ExtendedFig5/linearity_BigGAN", biggan)], UNTRAINED)
    source = SourceData(tmp_path)
    source.read("ExtendedFig5/alignment_Adam")
    assert source.provenance(FOLDER) == COMPUTED
    source.read("ExtendedFig5/linearity_BigGAN")
    assert source.provenance(FOLDER) == UNTRAINED


def test_results_go_before_the_tables_of_the_package(tmp_path):
    """Each table comes from the first folder that has it, with its own origin."""
    first, second = tmp_path / "first", tmp_path / "second"
    save_tables(first, [Table("ExtendedFig5/alignment_Adam", alignment(0.25))], COMPUTED)
    save_tables(
        second,
        [
            Table("ExtendedFig5/alignment_Adam", alignment(0.5)),
            Table("ExtendedFig5/alignment_CMAES", alignment(0.75)),
        ],
        COMPUTED,
    )
    tables = {t.key: t.value for t in export_extended_figure5([first, second])}
    assert tables["ExtendedFig5/alignment_Adam"]["gaussian_value"].eq(0.25).all()
    assert tables["ExtendedFig5/alignment_CMAES"]["gaussian_value"].eq(0.75).all()
    kinds = {n: p.kind for n, p in extended_figure5_provenance([first, second]).files.items()}
    assert sorted(kinds.values()) == ["computed", "computed", "untrained", "untrained"]
    assert len(tables) == len(kinds)


def test_export_command_writes_the_tables_of_the_package(tmp_path, capsys):
    """Also without torch; the files are those of the package, byte for byte."""
    assert export_main(["--output", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("untrained networks; not a result") == 2
    packaged = ROOT / "core" / "insilico" / "data" / FOLDER
    for path in packaged.iterdir():
        assert (tmp_path / FOLDER / path.name).read_bytes() == path.read_bytes(), path.name
    assert export_main(["--output", str(tmp_path), "--results", str(tmp_path / "none")]) == 3
    assert "holds no table of Extended Figure 5" in capsys.readouterr().err


def test_published_files_are_not_replaced_unasked(tmp_path, capsys):
    table = Table("ExtendedFig5/alignment_Adam", alignment())
    write_tables(tmp_path, FOLDER, [table], Provenance("published"))
    assert export_main(["--output", str(tmp_path)]) == 1
    assert "another origin" in capsys.readouterr().err
    with pytest.raises(CannotWriteError, match="another origin"):
        save_tables(tmp_path, [table], COMPUTED)
    assert export_main(["--output", str(tmp_path), "--force"]) == 0


def test_a_folder_without_tables_is_no_result(tmp_path):
    with pytest.raises(MissingDataError, match="give the output folder of a finished run"):
        list(export_extended_figure5([tmp_path]))


def test_no_torch_is_needed_for_figure_and_export(bare):
    """Both modules are imported with torch blocked."""
    program = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, NoTorch())
import core.insilico.extended_figure5_tables, figure_reproduction.FigureExt5_reproduction
"""
    assert bare.run(program).returncode == 0


def test_curves_are_means_over_seeds_with_bootstrap_intervals(rng):
    """The interval of 200 normal numbers is that of theory; constants have none."""
    table = alignment(seeds=range(200))
    noise = 0.1 * rng.standard_normal(len(table))
    table["gaussian_value"] = table["stack_size"] / 10 + noise * (table["dimension"] == 2)
    computed = compute_5c({"Adam": table})
    curve = computed["Adam", 2]
    np.testing.assert_array_equal(curve.depth, [0, 8])
    expected = table[table["dimension"] == 2].groupby("stack_size")["gaussian_value"]
    np.testing.assert_allclose(curve.mean, expected.mean())
    half = 1.96 * expected.std() / np.sqrt(200)
    np.testing.assert_allclose(curve.high - curve.mean, half, rtol=0.15)
    np.testing.assert_allclose(curve.mean - curve.low, half, rtol=0.15)
    flat = computed["Adam", 4]
    np.testing.assert_allclose([flat.low, flat.high], [flat.mean, flat.mean])
    told = {s.quantity: s.value for s in tell_5c(computed)}
    assert told["n_seeds Adam d=4"] == 200
    one_less = table.drop(table.index[(table["dimension"] == 4) & (table["stack_size"] == 8)][0])
    assert compute_5c({"Adam": one_less})["Adam", 4].n_seeds == 199


def test_panel_c_draws_one_curve_per_dimension():
    data = {"CMAES": alignment(0.3), "Adam": alignment(0.6)}
    figure = drawn(draw_5c, compute_5c(data))
    for axes, score in zip(figure.axes, (0.3, 0.6), strict=True):
        assert [line.get_label() for line in axes.lines] == ["2", "4"]
        for line in axes.lines:
            np.testing.assert_allclose(line.get_ydata(), score)


def test_rank_correlations_are_spearmans(rng):
    rows = pd.DataFrame({"depth": rng.integers(0, 9, 50), "a": rng.random(50), "b": 1.0})
    rows["c"] = -rows["depth"]
    np.testing.assert_allclose(rank_correlations(rows[["depth", "c"]], ["c"]), [-1])
    expected = spearmanr(rows["depth"], rows["a"]).statistic
    np.testing.assert_allclose(rank_correlations(rows, ["a"]), [expected])
    assert np.isnan(rank_correlations(rows, ["b"])).all()
    assert np.isnan(rank_correlations(rows[:0], ["a"])).all()


@pytest.mark.parametrize("space", Space)
def test_draws_take_the_same_number_of_units_of_each_layer(rng, space):
    """Linearity that follows depth alone gives r = 1 in every draw; noise gives about 0."""
    computed = compute_linearity(space, linearity(space, rng, units=150))
    assert computed.n_drawn == 96  # as many as the smallest layer has
    first, other = LINEARITY_METRICS[space][:2]
    for group in ("ReLU", "non-ReLU"):
        assert computed.groups[group, first].r == pytest.approx(1)
        assert computed.groups[group, first].r_sd == pytest.approx(0)
        assert abs(computed.groups[group, other].r) < 0.1
        assert 0 < computed.groups[group, other].r_sd < 1 / np.sqrt(LINEARITY_DRAWS)


def test_draws_are_the_same_again(rng):
    table = linearity(Space.BIGGAN, rng)
    one, two = (compute_linearity(Space.BIGGAN, table).groups for _ in range(2))
    assert [group.r for group in one.values()] == [group.r for group in two.values()]


def spearman_by_row(x, y):
    """Correlate ranks; many calls of scipy's own take long."""
    ranks = (rankdata(values, axis=1) for values in (x, y))
    return [np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]


def test_the_interval_of_r_is_that_of_units_resampled_one_by_one(rng):
    """By scipy's ranks, twelve units of each layer at a time; it holds r."""
    table = linearity(Space.BIGGAN, rng)
    computed = compute_linearity(Space.BIGGAN, table)
    rows = table[table["Layer"].isin(RELU_LAYERS)]
    own = [np.flatnonzero(rows["Layer"] == layer) for layer in rows["Layer"].unique()]
    places = np.concatenate([rng.choice(units, (300, 12)) for units in own], axis=1)
    depth, values = rows["Layer"].map(DEPTH).to_numpy(), rows["Test_R2_class"].to_numpy()
    drawn_r = spearman_by_row(depth[places], values[places])
    found = computed.groups["ReLU", "Test_R2_class"]
    np.testing.assert_allclose(
        found.r_interval, np.quantile(drawn_r, [0.025, 0.975]), atol=0.06
    )
    assert found.r_interval[0] < found.r < found.r_interval[1]


def test_correlations_are_those_of_a_hundred_draws_and_four_hundred_resamples(rng):
    """Draw by draw with scipy: 96 units of each layer, seeds 54 for draws and 55 for resamples."""
    table = linearity(Space.BIGGAN, rng, units=100)
    computed = compute_linearity(Space.BIGGAN, table)
    draws, metric = np.random.default_rng(54), "Test_R2_class"
    for group in ("non-ReLU", "ReLU"):
        rows = table[table["Layer"].isin(RELU_LAYERS) == (group == "ReLU")]
        depth, values = rows["Layer"].map(DEPTH).to_numpy(), rows[metric].to_numpy()
        drawn = [
            rows.groupby("Layer", sort=False).sample(96, random_state=draws).index
            for _ in range(LINEARITY_DRAWS)
        ]
        places = rows.index.get_indexer(np.concatenate(drawn)).reshape(LINEARITY_DRAWS, -1)
        found = spearman_by_row(depth[places], values[places])
        assert computed.groups[group, metric].r == pytest.approx(np.mean(found))
        assert computed.groups[group, metric].r_sd == pytest.approx(np.std(found))
        resamples, layers = np.random.default_rng(55), rows["Layer"].to_numpy()
        units = [
            resamples.choice(np.flatnonzero(layers == layer), (400, 96))
            for layer in pd.unique(rows["Layer"])
        ]
        places = np.concatenate(units, axis=1)
        r = spearman_by_row(depth[places], values[places])
        np.testing.assert_allclose(
            computed.groups[group, metric].r_interval, np.quantile(r, [0.025, 0.975]), atol=1e-9
        )


def test_two_units_have_a_rank_correlation_and_one_has_none():
    pair = pd.DataFrame({"depth": [0, 3], "R2": [0.5, 0.2]})
    np.testing.assert_allclose(rank_correlations(pair, ["R2"]), [-1])
    assert np.isnan(rank_correlations(pair[:1], ["R2"])).all()


def test_a_table_without_rectified_layers_has_no_interval_of_them(rng):
    table = linearity(Space.BIGGAN, rng)
    found = compute_linearity(Space.BIGGAN, table[~table["Layer"].isin(RELU_LAYERS)])
    assert np.isnan(found.groups["ReLU", "Test_R2"].r_interval).all()
    assert found.groups["non-ReLU", "Test_R2"].r == pytest.approx(1)


def test_no_more_than_96_units_of_a_layer_are_drawn(rng):
    """Also where every layer has more."""
    table = linearity(Space.BIGGAN, rng, units=100)
    large = table.groupby("Layer")["Layer"].transform("size") == 100
    assert compute_linearity(Space.BIGGAN, table[large]).n_drawn == 96


def test_dead_units_are_counted_in_r_and_left_out_of_boxes(rng):
    """As published, correlations are over all units; an R² of 1 everywhere tells a dead one."""
    table = linearity("BigGAN", rng)
    metrics = list(LINEARITY_METRICS["BigGAN"])
    table.loc[table["Layer"].eq("relu2") & table["Target"].eq("(0,)"), metrics] = 1.0
    told = {s.quantity: s.value for s in tell_linearity(compute_linearity(Space.BIGGAN, table))}
    assert told["n_dead_units relu2"] == 1
    assert told["n_dead_units relu3"] == 0
    assert told["spearman_r_live_units Test_R2 ReLU"] == pytest.approx(1)
    assert told["mean_spearman_r Test_R2 ReLU"] < 1
    assert told["median_by_layer Test_R2 ReLU"][1] == pytest.approx(0.02 * DEPTH["relu2"])
    table.loc[table["Layer"].eq("relu3"), metrics[0]] = 1.0  # predicted perfectly by one part
    assert dead_units(table, metrics).sum() == 1
    marked = table.assign(dead=table["Layer"] == "conv1")
    assert dead_units(marked, metrics).sum() == 12
    computed = compute_linearity(Space.BIGGAN, marked)
    empty = computed.groups["non-ReLU", "Test_R2"].boxes[0]
    assert np.isnan(empty["med"])
    assert len(empty["fliers"]) == 0
    figure = drawn(draw_linearity, computed)
    assert next(t.get_text() for t in figure.axes[1].get_xticklabels()) == "relu1"


def test_far_outliers_do_not_squeeze_the_boxes(rng):
    """The shown range follows what lies within -0.3 to 1.05, as published."""
    table = linearity("BigGAN", rng)
    table.loc[0, "Test_R2"] = -250.0
    low, high = compute_linearity(Space.BIGGAN, table).limits
    assert low == -0.3
    assert 0.4 < high < 0.8


@pytest.mark.parametrize(("space", "panel"), [(Space.BIGGAN, "Ext5D"), (Space.DEEPSIM, "Ext5E")])
def test_every_published_number_is_answered(rng, space, panel):
    published = {key[1] for key in published_values() if key[0] == panel}
    told = {s.quantity for s in tell_linearity(compute_linearity(space, linearity(space, rng)))}
    assert len(published) == 6
    assert published <= told


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source_data")
    assert export_main(["--output", str(folder)]) == 0
    return folder


def test_only_panels_of_untrained_networks_are_marked(exported, tmp_path, monkeypatch):
    """5C is computed and bears no mark; 5D and 5E of the package say UNTRAINED on their face."""
    monkeypatch.setattr(ext5, "N_DRAWS", 2)  # numbers are not looked at
    monkeypatch.setattr(ext5, "N_RESAMPLED_UNITS", 2)
    with pictures_in_memory() as pictures:
        printed = print_figure(FIGURE, PrintJob(exported, tmp_path, formats=("png",)))
    assert printed.problems == {}
    assert [path.name for path in printed.pictures] == [
        "Ext5C.png", "Ext5D.png", "Ext5E.png", "FigureExt5.png",
    ]  # fmt: skip
    marks = {name: {t.get_text() for t in sheet.texts} for name, sheet in pictures.items()}
    assert "UNTRAINED" not in marks["Ext5C"]
    assert all("UNTRAINED" in marks[name] for name in ("Ext5D", "Ext5E", "FigureExt5"))
    panels = json.loads((tmp_path / "FigureExt5.json").read_text())["panels"]
    kinds = {name: panel["provenance"]["kind"] for name, panel in panels.items()}
    assert kinds == {"Ext5C": "computed", "Ext5D": "untrained", "Ext5E": "untrained"}
    assert len(panels["Ext5C"]["inputs"]) == 2
    assert not any("verdict" in s for s in panels["Ext5D"]["statistics"])
    depths = {s["quantity"]: s["value"] for s in panels["Ext5C"]["statistics"]}
    assert depths["depths Adam d=256"] == [0, 2, 4, 8, 16, 32, 48, 64]


def test_the_notebook_exports_the_same_files_as_the_command(exported, tmp_path, monkeypatch):
    """Run the code of the notebook from its own folder; its figure is drawn elsewhere."""
    monkeypatch.delenv("RESULTS", raising=False)
    asked = []
    monkeypatch.setattr(inline, "composed_figure", lambda *given: asked.append(given) or [])
    path = ROOT / "source_data_export" / "FigureExtended5_source_data_export.ipynb"
    run_here(path, monkeypatch, SOURCE_DATA=str(tmp_path))
    assert asked == [("FigureExt5", str(tmp_path))]
    made = {p.name: p.read_bytes() for p in (tmp_path / FOLDER).iterdir()}
    assert made == {p.name: p.read_bytes() for p in (exported / FOLDER).iterdir()}
