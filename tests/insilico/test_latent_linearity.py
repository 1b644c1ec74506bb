"""Linearity of latent codes: units, regression, subspaces, resumable responses and tables."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from torch import nn
from torchvision.transforms import Resize

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.insilico.latent_linearity import command as latent_linearity
from core.insilico.latent_linearity import responses as unit_responses
from core.insilico.latent_linearity.caffenet_layers import (
    LAYER_INDEX,
    LAYERS,
    NON_RELU_LAYERS,
    RELU_LAYERS,
    UNITS_OF_LAYER,
)
from core.insilico.latent_linearity.codes import (
    LinearitySettings,
    bases_of,
    biggan_bases,
    deepsim_bases,
    features_of,
    read_hessian,
    sample_codes,
)
from core.insilico.latent_linearity.command import layer_table, main, run
from core.insilico.latent_linearity.regression import Split, r2_by_unit
from core.insilico.latent_linearity.responses import (
    ResponseFiles,
    centre_units,
    resized,
    responses_of,
)
from core.source_tables.provenance import Provenance
from core.source_tables.reader import SourceData, Table, write_tables
from core.utils.GAN_utils import upconvGAN
from core.utils.generators.caffenet import build_caffenet
from tests.closeness import assert_same_pass
from tests.paper_constants import CAFFENET_LAYERS, RIDGE_ALPHAS


def test_units_are_those_of_the_architecture():
    """21,096 rows: 11,528 of layers without and 9,568 of layers with a rectifier."""
    with torch.device("meta"):
        network, x = build_caffenet(), torch.empty(1, 3, 224, 224)
    found = {}
    for name, layer in network.named_children():
        x = layer(x)
        found[name] = centre_units(x).shape[1]
    assert list(found) == list(UNITS_OF_LAYER)
    typed = {layer: n_units for layer, _, n_units in CAFFENET_LAYERS}
    assert {layer: n_units for layer, n_units in found.items() if layer != "flatten"} == typed
    assert typed | {"flatten": 0} == UNITS_OF_LAYER
    assert sum(UNITS_OF_LAYER[layer] for layer in NON_RELU_LAYERS) == 11528
    assert sum(UNITS_OF_LAYER[layer] for layer in RELU_LAYERS) == 9568
    assert {layer: LAYER_INDEX[layer] for layer in typed} == {
        layer: place for layer, place, _ in CAFFENET_LAYERS
    }
    for space, penalties in RIDGE_ALPHAS.items():
        np.testing.assert_allclose(latent_linearity.ALPHAS[space], penalties, rtol=1e-12)


def test_images_are_resized_as_torchvision_does():
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resized(images), Resize(224, antialias=True)(images))


class ToyGenerator:
    """Images that are linear in the code: grey plus one fixed pattern per dimension."""

    trained = False

    def __init__(self, dimension):
        generator = torch.Generator().manual_seed(7)
        self.patterns = torch.randn(dimension, 3 * 8 * 8, generator=generator) * 0.01
        self.n_images = 0

    def visualize(self, codes):
        self.n_images += len(codes)
        return 0.5 + (codes @ self.patterns).reshape(-1, 3, 8, 8)


class ToyNetwork:
    """A network with the layers of CaffeNet by name, small, with rectifiers that work in place."""

    trained = False

    def __init__(self):
        layers = OrderedDict()
        for name in UNITS_OF_LAYER:
            match name:
                case "conv1":
                    layers[name] = nn.Conv2d(3, 6, 16, stride=16)
                case "flatten":
                    layers[name] = nn.Flatten()
                case "fc6":
                    layers[name] = nn.Linear(6 * 14 * 14, 8)
                case "fc7" | "fc8":
                    layers[name] = nn.Linear(8, 8)
                case _ if name.startswith("conv"):
                    layers[name] = nn.Conv2d(6, 6, 3, padding=1)
                case _ if name.startswith("relu"):
                    layers[name] = nn.ReLU(inplace=True)
                case _:
                    layers[name] = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.net = nn.Sequential(layers)
            for parameter in self.net.parameters():
                nn.init.normal_(parameter, std=0.3)
        nn.init.zeros_(self.net.conv2.weight[0])
        nn.init.constant_(self.net.conv2.bias[:1], -1.0)

    def __call__(self, images, *, preproc):
        assert preproc
        return self.net(images - 0.5)


@pytest.fixture
def codes(rng):
    return rng.standard_normal((40, 12)).astype(np.float32)


@pytest.mark.numerics
def test_responses_are_of_the_layer_itself_and_its_central_unit(codes):
    """An in-place rectifier does not reach the convolution before it; batches do not matter."""
    generator, network = ToyGenerator(12), ToyNetwork()
    found = responses_of(codes, generator, network, LAYERS, batch_size=7)
    x = resized(generator.visualize(torch.as_tensor(codes))) - 0.5
    conv1 = network.net.conv1(x)[:, :, 7, 7].detach().numpy()
    assert_same_pass(found["conv1"], conv1)
    assert (found["conv1"] < 0).any()
    np.testing.assert_array_equal(found["relu1"], np.maximum(found["conv1"], 0))
    assert found["fc6"].shape == (40, 8)
    assert not any(module._forward_hooks for module in network.net.modules())
    together = responses_of(codes, generator, network, LAYERS, batch_size=40)
    for layer in LAYERS:
        assert_same_pass(found[layer], together[layer])


def test_hooks_go_when_a_network_fails(codes):
    network = ToyNetwork()
    network.net.fc8 = nn.Linear(5, 8)
    with pytest.raises(RuntimeError, match="shapes"):
        responses_of(codes, ToyGenerator(12), network, LAYERS, batch_size=7)
    assert not any(module._forward_hooks for module in network.net.modules())


def test_split_is_the_published_one():
    """4000 and 1000 of 5000 images by seed 42; the first drawn numbers are scikit-learn's."""
    from sklearn.model_selection import train_test_split

    split = Split.of(5000)
    train, test = train_test_split(np.arange(5000), test_size=0.2, random_state=42)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)


def test_linear_units_are_predicted_perfectly_and_noise_is_not(rng):
    """R² is 1 for a unit linear in the code, about 0 for one that ignores it."""
    codes = rng.standard_normal((500, 20))
    linear = codes @ rng.standard_normal((20, 3)) + 5
    responses = np.column_stack([linear, rng.standard_normal(500)])
    scores = r2_by_unit({"R2": codes}, responses, np.array(RIDGE_ALPHAS["BigGAN"]), Split.of(500))
    np.testing.assert_allclose(scores["Test_R2"][:3], 1, atol=1e-9)
    np.testing.assert_allclose(scores["Train_R2"][:3], 1, atol=1e-9)
    assert -0.2 < scores["Test_R2"][3] < 0.05


def test_all_units_at_once_equal_one_regression_for_each(rng):
    """Each unit has the penalty that it would choose alone, with more and with fewer dimensions."""
    alphas = np.logspace(-3, 5, 9)
    for n, d in ((60, 8), (50, 90)):
        x = rng.standard_normal((n, d))
        noise = np.array([0.01, 0.5, 3.0, 20.0])
        y = x @ rng.standard_normal((d, 4)) + noise * rng.standard_normal((n, 4))
        split = Split.of(n)
        scores = r2_by_unit({"R2": x}, y, alphas, split)
        chosen = set()
        for unit in range(4):
            alone = RidgeCV(alphas=alphas).fit(x[split.train], y[split.train, unit])
            chosen.add(alone.alpha_)
            for part, rows in (("Train", split.train), ("Test", split.test)):
                expected = r2_score(y[rows, unit], alone.predict(x[rows]))
                assert scores[f"{part}_R2"][unit] == pytest.approx(expected, abs=1e-9)
        assert len(chosen) > 1


def test_units_that_never_change_count_as_predicted(rng):
    """R² is 1 whatever the constant; beside them, and without any other unit."""
    responses = np.full((40, 3), 0.3, dtype=np.float32)
    codes = rng.standard_normal((40, 5))
    scores = r2_by_unit({"R2": codes}, responses, np.array(RIDGE_ALPHAS["BigGAN"]), Split.of(40))
    np.testing.assert_array_equal(scores["Test_R2"], np.ones(3))
    responses[:, 1] = codes[:, 0]
    scores = r2_by_unit({"R2": codes}, responses, np.array(RIDGE_ALPHAS["BigGAN"]), Split.of(40))
    np.testing.assert_allclose(scores["Train_R2"], np.ones(3), atol=1e-9)


def test_parts_of_a_biggan_code(rng):
    """A unit that follows the class alone is predicted by the class part, and not by the noise."""
    codes = rng.standard_normal((900, 256)).astype(np.float32)
    responses = codes[:, 128:] @ rng.standard_normal((128, 2)).astype(np.float32)
    features = features_of(codes, biggan_bases())
    assert {name: part.shape[1] for name, part in features.items()} == {
        "R2": 256, "R2_class": 128, "R2_noise": 128,
    }  # fmt: skip
    scores = r2_by_unit(features, responses, np.array(RIDGE_ALPHAS["BigGAN"]), Split.of(900))
    assert scores["Test_R2_class"].min() > 0.999
    assert scores["Test_R2_noise"].max() < 0.05


def test_subspaces_of_a_deepsim_code(rng):
    """The last columns of an ascending basis are the top, the first columns the null space."""
    basis = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    codes = rng.standard_normal((400, 30))
    responses = codes @ basis[:, [-1, 0]]  # one unit in the top, one in the null direction
    bases = deepsim_bases(basis, sizes=(4, 2))
    assert list(bases) == [
        "R2", "R2_top_Hess4", "R2_top_Hess2", "R2_null_Hess4", "R2_null_Hess2",
    ]  # fmt: skip
    penalties = np.array(RIDGE_ALPHAS["DeePSim"])
    scores = r2_by_unit(features_of(codes, bases), responses, penalties, Split.of(400))
    for size in (4, 2):
        assert scores[f"Test_R2_top_Hess{size}"][0] > 0.999
        assert scores[f"Test_R2_top_Hess{size}"][1] < 0.05
        assert scores[f"Test_R2_null_Hess{size}"][1] > 0.999
        assert scores[f"Test_R2_null_Hess{size}"][0] < 0.05


def test_columns_of_the_tables_are_the_published_ones(rng, tmp_path):
    """Published columns first and in order; BigGAN writes its units as tuples; ours follow."""
    codes = rng.standard_normal((50, 256))
    responses = rng.standard_normal((50, 3)).astype(np.float32)
    responses[:, 1] = 0.25
    units = np.array([0, 4, 7])
    bases = {"BigGAN": biggan_bases(), "DeePSim": deepsim_bases(np.eye(256), (128, 64, 32))}
    biggan = layer_table("conv4", units, responses, features_of(codes, bases["BigGAN"]), "BigGAN")
    assert list(biggan) == [
        "Layer", "Target", "Train_R2", "Test_R2", "Train_R2_class", "Test_R2_class",
        "Train_R2_noise", "Test_R2_noise", "Layer_index", "unit_index", "dead",
    ]  # fmt: skip
    assert biggan["Target"].tolist() == ["(0,)", "(4,)", "(7,)"]
    assert biggan["dead"].tolist() == [False, True, False]
    assert biggan["Layer_index"].unique().tolist() == [10]
    deepsim = layer_table("fc8", units, responses, features_of(codes, bases["DeePSim"]), "DeePSim")
    assert deepsim["Target"].tolist() == [0, 4, 7]
    assert biggan["unit_index"].tolist() == [0, 4, 7]
    table = Table("ExtendedFig5/linearity_BigGAN", biggan)
    write_tables(tmp_path, "ExtendedFig5", [table], Provenance("untrained"))
    read = SourceData(tmp_path).read(table.key)
    pd.testing.assert_frame_equal(read, biggan, check_dtype=False)


def test_published_tables_without_our_columns_are_read(tmp_path):
    """A file with an unnamed index, without marks of dead units and without training columns."""
    folder = tmp_path / "ExtendedFig5"
    folder.mkdir()
    (folder / "FigureExt6D_BigGAN_Caffenet_latent_code_linearity_results.csv").write_text(
        ",Layer,Target,Test_R2,Test_R2_class,Test_R2_noise,Layer_index,unit_index\n"
        '0,conv1,"(0,)",0.1,0.2,-0.01,0,0\n'
    )
    table = SourceData(tmp_path).read("ExtendedFig5/linearity_BigGAN")
    assert "dead" not in table
    assert table["Target"].tolist() == ["(0,)"]


def test_codes_follow_the_published_distributions():
    """DeePSim: normal with the given spread; the same seed gives the same codes."""
    generator = upconvGAN.__new__(upconvGAN)
    nn.Module.__init__(generator)
    generator.codelen, generator.G = 4096, nn.Linear(1, 1)
    experiment = LinearitySettings("fc6", n_codes=20, code_std=4.0, seed=3)
    codes = sample_codes(experiment, generator)
    assert codes.shape == (20, 4096)
    assert codes.std() == pytest.approx(4, rel=0.02)
    np.testing.assert_array_equal(codes, sample_codes(experiment, generator))


def low_rank_codes(experiment):
    """Return codes that span 6 dimensions, which few images tell apart."""
    rng = np.random.default_rng(experiment.seed)
    codes = rng.standard_normal((experiment.n_codes, 6)) @ rng.standard_normal((6, 256))
    return codes.astype(np.float32)


@pytest.fixture
def toys(monkeypatch):
    """Put a toy in the place of both networks; files hold 15 codes."""
    generator, network = ToyGenerator(256), ToyNetwork()
    monkeypatch.setattr(latent_linearity, "load_networks", lambda *_: (generator, network))
    monkeypatch.setattr(unit_responses, "CODES_PER_FILE", 15)
    monkeypatch.setattr(latent_linearity, "sample_codes", lambda e, _: low_rank_codes(e))
    return generator


BIGGAN_40 = LinearitySettings("BigGAN", n_codes=40, untrained=True)


def test_a_run_ends_in_a_table_that_says_that_it_is_untrained(toys, tmp_path):
    """One row per unit; the toy's units are linear up to the first rectifier."""
    [path] = run(BIGGAN_40, tmp_path)
    source = SourceData(tmp_path)
    table = source.read("ExtendedFig5/linearity_BigGAN")
    origin = source.provenance("ExtendedFig5")
    assert path.name == "FigureExt6D_BigGAN_Caffenet_latent_code_linearity_results.csv"
    assert (origin.kind, origin.mark) == ("untrained", "UNTRAINED")
    assert origin.details["n_codes"] == "40"
    assert len(table) == 15 * 6 + 5 * 8
    linear = table[table["Layer"] == "conv1"]
    assert linear["Test_R2"].min() > 0.99
    dead = table[table["dead"]]
    assert "relu2" in set(dead["Layer"])
    assert (dead["Test_R2"] == 1).all()


def test_a_run_that_was_cut_off_ends_with_the_same_table(toys, tmp_path):
    """Responses that are there are used; only missing ones are computed again."""
    [whole] = run(BIGGAN_40, tmp_path / "whole")
    run(BIGGAN_40, tmp_path / "cut")
    [part] = (tmp_path / "cut" / "responses" / "BigGAN").glob("codes_00015-00030.npz")
    part.unlink()
    toys.n_images = 0
    [resumed] = run(BIGGAN_40, tmp_path / "cut", resume=True)
    assert toys.n_images == 15
    assert resumed.read_bytes() == whole.read_bytes()


def test_fewer_units_are_drawn_by_the_seed(toys, tmp_path):
    run(BIGGAN_40, tmp_path)
    whole = SourceData(tmp_path).read("ExtendedFig5/linearity_BigGAN")
    run(BIGGAN_40, tmp_path, units_per_layer=2, resume=True)
    some = SourceData(tmp_path).read("ExtendedFig5/linearity_BigGAN")
    assert some.groupby("Layer").size().eq(2).all()
    both = some.merge(whole, on=["Layer", "Target"], suffixes=("", "_whole"))
    np.testing.assert_allclose(both["Test_R2"], both["Test_R2_whole"], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("other", "resume", "message"),
    [
        (BIGGAN_40, False, "go on with --resume"),
        (LinearitySettings("BigGAN", n_codes=41, untrained=True), True, "n_codes differ"),
        (LinearitySettings("BigGAN", n_codes=40), True, "untrained differ"),
    ],
)
def test_responses_are_not_overwritten_or_mixed_unasked(toys, tmp_path, other, resume, message):
    run(BIGGAN_40, tmp_path, units_per_layer=1)
    with pytest.raises(UsageError, match=message):
        run(other, tmp_path, resume=resume)


def test_a_damaged_file_of_responses_is_named(tmp_path, codes):
    files = ResponseFiles(tmp_path)
    files.fill(codes, ToyGenerator(12), ToyNetwork(), ["conv1"], batch_size=40)
    [path] = tmp_path.iterdir()
    with pytest.raises(MalformedDataError, match="does not hold the responses of fc6"):
        files.read("fc6", len(codes))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MalformedDataError, match="does not hold the responses of conv1"):
        files.read("conv1", len(codes))


def hessian(path, **changed):
    np.savez(path, **({"eigv_avg": np.arange(4.0), "eigvect_avg": np.eye(4)} | changed))
    return path


def test_a_hessian_file_is_read(tmp_path):
    np.testing.assert_array_equal(read_hessian(hessian(tmp_path / "h.npz"), 4), np.eye(4))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eigv_avg": np.arange(3.0)}, "expected 4 of each"),
        ({"eigvect_avg": np.eye(4)[:, :2]}, "expected 4 of each"),
        ({"eigv_avg": np.arange(4.0)[::-1]}, "does not ascend"),
    ],
)
def test_a_hessian_of_another_kind_is_refused(tmp_path, changed, message):
    with pytest.raises(MalformedDataError, match=message):
        read_hessian(hessian(tmp_path / "h.npz", **changed), 4)


def test_what_is_no_hessian_is_refused(tmp_path):
    np.savez(tmp_path / "keys.npz", eigvals=np.arange(4.0))
    with pytest.raises(MalformedDataError, match="must hold eigv_avg and eigvect_avg"):
        read_hessian(tmp_path / "keys.npz", 4)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(MalformedDataError, match="is not an average Hessian"):
        read_hessian(tmp_path / "text.npz", 4)
    with pytest.raises(MissingDataError, match="there is no Hessian"):
        read_hessian(tmp_path / "absent.npz", 4)
    with pytest.raises(UsageError, match="give --hessian FILE"):
        bases_of(LinearitySettings("fc6"), None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator": "biggan"}, "unknown generator 'biggan'"),
        ({"generator": "fc6", "n_codes": 9}, "9 codes are too few"),
        ({"generator": "fc6", "seed": -1}, "seed is -1"),
        ({"generator": "fc6", "code_std": 0.0}, "must be > 0"),
        ({"generator": "fc6", "code_std": float("nan")}, "must be > 0"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        LinearitySettings(**settings)


def test_command_line(toys, tmp_path, capsys):
    """0 done, 2 for what cannot be run, 3 for a Hessian that is not there."""
    job = ["--generator", "BigGAN", "--codes", "20", "--untrained", "--output", str(tmp_path)]
    assert main([*job, "--units-per-layer", "0"]) == 2
    assert main([*job, "--units-per-layer", "1"]) == 0
    assert "FigureExt6D_BigGAN_Caffenet" in capsys.readouterr().out
    assert main(job) == 2
    fc6 = ["--generator", "fc6", "--output", str(tmp_path)]
    assert main(fc6) == 2
    assert main([*fc6, "--hessian", str(tmp_path / "absent.npz")]) == 3
    assert "there is no Hessian" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "example:\n  python -m core.insilico.latent_linearity --" in capsys.readouterr().out
