"""From sessions at a rig to recordings, tables and Figures 2, 4 and 5."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from PIL import Image

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.rig import FakeNeurons, FakeRig, SessionInfo
from core.source_tables.provenance import Provenance
from core.spaces import Space
from core.utils.evolution.loop import evolve
from core.utils.generators.image_spaces import PixelSpace
from figure_reproduction.page.sheet import Drawing, Place, print_sheet
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.rig_recordings import experiment_numbers, main, write_recordings
from source_data_export.exports import run
from tests.golden import pictures_in_memory

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = 17
NOTE = "IN SILICO: mean red of the picture"


def record(folder, number, note=NOTE, generations=BLOCKS, spaces=("fc6", "BigGAN"), **info):
    """Evolve in two spaces for a fake neuron, and return the session."""
    reference = folder.parent / "face (3).png"
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(reference)
    neurons = FakeNeurons(
        [lambda x: x[:, 0].mean((1, 2)), lambda x: x.mean((1, 2, 3))],
        [0.3, 0.3], [200.0, 100.0], lost=0.1, seed=number,
    )  # fmt: skip
    about = {"channel": 7, "channels": (3, 7), "note": note, "spaces": spaces} | info
    about["shown_as"] = ("coarse", "fine")[: len(spaces)]
    session = SessionInfo("Alfa", "2024-05-17", number, **about)
    rig = FakeRig(neurons, folder, session, references=[reference], repeats=2)
    threads = {f"thread {n}": PixelSpace(8, 2 + n) for n in range(len(spaces))}
    evolve(rig.channel(1), threads, "CholCMA_standard", generations, progress=False, population=7)
    return folder


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rig")
    return [record(folder / f"session{n}", n, area=area) for n, area in ((1, ""), (2, "V4"))]


@pytest.fixture(scope="module")
def matroot(sessions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matroot")
    assert main([*map(str, sessions), "--output", str(folder)]) == 0
    return folder


def test_the_recordings_are_the_trials_of_the_session(sessions, matroot):
    """Every seen presentation, in order, by the plain arrays of the session."""
    with load_neural_data(matroot) as recordings:
        assert list(recordings) == [1, 155]
        assert (recordings.in_silico, recordings.simulated) == (True, False)
        experiment, names = recordings[155], recordings.image_names(155)
        assert experiment.info.area == "IT"
        assert recordings.info(1).area == "V4"
        assert experiment.info.spaces == ("fc6", "BigGAN")
    found = np.load(sessions[0] / "block004.npz")
    seen = np.isfinite(found["evoked"]).all(1)
    assert (~seen).sum() > 0
    for number, thread in enumerate(experiment.threads):
        block = thread.blocks[4]
        shown = [names[i] for i in block.image_index]
        mark = f"_thread{number:03d}_gen_gen004_"
        expected = [mark in name and ok for name, ok in zip(found["trials"], seen, strict=True)]
        assert shown == list(found["trials"][expected])
        np.testing.assert_allclose(block.psth, found["psth"][expected, :, 1].T)
        natural = [names[i] for i in thread.references[4].image_index]
        assert set(natural) == {f"face (3)_thread{number:03d}_nat"}


def test_figures_2_4_and_5_run_on_a_labs_own_experiment(
    sessions, matroot, tmp_path, monkeypatch
):
    """Tables by the exporter, figures by their scripts, marked; one number by hand."""
    tables = tmp_path / "tables"
    report = run(matroot, tables, ["Fig2", "Fig4", "Fig5", "ExtendedFig4"])
    assert report.left_out == {}
    note = json.loads((tables / "Fig4" / "provenance.json").read_text())
    assert note["kind"] == "in_silico"
    assert note["details"]["note"] == NOTE
    assert [note["details"][f"{space} stands for"] for space in ("DeePSim", "BigGAN")] == [
        "coarse", "fine",
    ]  # fmt: skip
    found = np.load(sessions[0] / "block003.npz")
    rows = ["_thread001_gen" in name for name in found["trials"]]
    path = tables / "Fig2" / "Figure2B_src_resp_Exp155_BigGAN_thread_evol.csv"
    table = pd.read_csv(path)
    by_hand = np.nanmean(found["psth"][rows, 50:200, 1])
    assert table["resp"][table["gen"] == 4].mean() == pytest.approx(by_hand, rel=1e-5)
    for script, panel in (("Figure2", "2D"), ("Figure4", "4D"), ("Figure5", "5A")):
        output = ["--output", str(tmp_path / script), "--panel", panel, "--format", "png"]
        monkeypatch.setattr("sys.argv", ["figure", "--source-data", str(tables), *output])
        path = ROOT / "figure_reproduction" / f"{script}_reproduction.py"
        with pytest.raises(SystemExit) as ended, pictures_in_memory() as pictures:
            runpy.run_path(str(path), run_name="__main__")
        assert ended.value.code == 0
        told = json.loads((tmp_path / script / f"{script}.json").read_text())
        assert "in_silico" in json.dumps(told)
        assert {path.stem for path in (tmp_path / script).glob("*.png")} == set(pictures) != set()


def test_other_sessions_are_refused_in_one_sentence(sessions, tmp_path):
    alone = record(tmp_path / "alone", 3, generations=2, spaces=("fc6",))
    with pytest.raises(MalformedDataError, match="not of 2 threads"):
        write_recordings([alone], tmp_path / "out")
    real = record(tmp_path / "real", 4, note="", generations=2)
    with pytest.raises(UsageError, match="some sessions are in silico"):
        write_recordings([sessions[0], real], tmp_path / "out")
    with pytest.raises(UsageError, match="give each once"):
        write_recordings([real, real], tmp_path / "out")
    with pytest.raises(MissingDataError, match=r"holds no session\.json"):
        write_recordings([tmp_path], tmp_path / "out")
    arrays = dict(np.load(real / "block001.npz"))
    arrays.pop("psth")
    np.savez(real / "block001.npz", **arrays)
    with pytest.raises(MalformedDataError, match="Let the rig write psth"):
        write_recordings([real], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.mat"))


def test_figures_call_spaces_by_their_own_names():
    """Legends, titles and ticks; no text tells of a generator that was not there."""

    def draw(part):
        axes = part.subplots()
        axes.plot([1, 2], label=str(Space.DEEPSIM))
        axes.set_xticks([0, 1], ["DeePSim", "BigGAN\nV1"])
        axes.set_title("DeePSim − BigGAN")
        axes.legend()

    details = {"DeePSim stands for": "coarse", "BigGAN stands for": "fine"}
    names = Provenance("in_silico", details).space_names
    figure = print_sheet([Place(Drawing(draw, (80.0, 60.0)), mark="IN SILICO", names=names)])
    told = {text.get_text() for text in figure.findobj(Text)} - {""}
    assert {"coarse", "fine\nV1", "coarse − fine", "IN SILICO"} <= told
    assert not any("DeePSim" in text or "BigGAN" in text for text in told)
    plt.close(figure)


def test_a_session_of_ones_own_animal_names_its_area(tmp_path):
    with pytest.raises(UsageError, match="areas are V1, V4, IT"):
        SessionInfo("Zoe", "2024-05-17", area="MT")
    folder = tmp_path / "zoe"
    record(folder, 1, generations=2, area="V1")
    note = json.loads((folder / "session.json").read_text())
    note["info"]["animal"] = "Zoe"
    (folder / "session.json").write_text(json.dumps(note))
    write_recordings([folder], tmp_path)
    with load_neural_data(tmp_path) as recordings:
        assert recordings.info(155).area == "V1"
        assert recordings.info(155).session.animal == "Zoe"
        assert not recordings.simulated


def test_the_first_session_is_the_example_of_figure_2():
    assert experiment_numbers(1) == [155]
    assert experiment_numbers(4) == [155, 1, 2, 3]
    assert experiment_numbers(160)[154:] == [154, 156, 157, 158, 159, 160]
