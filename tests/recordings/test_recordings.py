"""Recordings in every form they are kept in: MATLAB, pickles of old and new mat73, EasyDicts."""

from __future__ import annotations

import datetime as dt
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.io

from core.errors import MalformedDataError, MissingDataError
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.matlab.values import (
    as_image_index,
    as_matlab,
    as_psth,
    as_text,
    as_vector,
    flat,
    per_thread,
)
from neuro_data_analysis.neural_data_lib import (
    EXPSEP_PICKLE,
    MAT_FILE,
    MERGE_PICKLE,
    SIMULATED_ATTRIBUTE,
    Block,
    Recordings,
    load_neural_data,
)

SIZES = ((3, 2, 1), (2, 2, 4))  # images of each thread in each block
FIELDS = ("Animal", "evol", "imageName", "meta", "ref")


def psth_of(thread, block, n_images):
    """Give every block its own numbers: thread, block, column and ms are all in the value."""
    ms, column = np.mgrid[:200, :n_images]
    return 1000.0 * thread + 100.0 * block + column + ms / 1000


def make_element(ephys_name="Alfa-25112020-003", control_name="201125_Alfa_generate_BigGAN(1)"):
    """Build one experiment as MATLAB holds it: cells are object arrays, vectors are rows."""
    psth, index = np.empty((2, 3), dtype=object), np.empty((2, 3), dtype=object)
    names = []
    shown = 0
    for block in range(3):
        for thread in (0, 1):
            n_images = SIZES[thread][block]
            psth[thread, block] = psth_of(thread, block, n_images)
            index[thread, block] = 1.0 + shown + np.arange(n_images)[np.newaxis, :]
            names += [f"block{block + 1:03d}_thread{thread:03d}_{n}" for n in range(n_images)]
            shown += n_images
    return {
        "evol": {
            "psth": psth,
            "idx_seq": index,
            "imgpos": np.array([[0.0, -0.8], [0.0, -0.8]]),
            "imgsize": np.array([3.0, 3.0]),
            "pref_chan": np.array([12.0, 12.0]),
            "unit_in_pref_chan": np.array([1.0, 1.0]),
            "space_names": ["fc6", "BigGAN_class"],
            "optim_names": None,
        },
        "ref": {"psth": psth, "idx_seq": index},
        "imageName": np.array(names, dtype=object)[:, np.newaxis],
        "meta": {
            "ephysFN": ephys_name,
            "expControlFN": control_name,
            "stimuli": "N:\\Stimuli\\2020-BigGAN\\x",
        },
    }


def write_mat(folder, elements, variable="BFEStats"):
    with write_v73(folder / MAT_FILE, "x") as file:
        file.save_struct_array(variable, FIELDS, elements)
    return folder


class EasyDict(dict):
    """As the package of that name: items are attributes as well, and pickled twice."""

    def __init__(self, items):
        super().__init__(items)
        self.__dict__.update(items)


@pytest.fixture
def easydict(monkeypatch):
    """Offer the class under the name that the authors' pickles ask for, while pickling only."""
    module = types.ModuleType("easydict")
    EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
    module.EasyDict = EasyDict
    monkeypatch.setitem(sys.modules, "easydict", module)
    yield EasyDict
    EasyDict.__module__ = __name__


def as_mat73(value, old=False):
    """Turn a MATLAB value into what mat73 makes of it: squeezed, lists for cells, odd empties."""
    if isinstance(value, dict):
        return {field: as_mat73(inner, old) for field, inner in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        rows = [[as_mat73(inner, old) for inner in row] for row in value]
        return rows[0] if len(rows) == 1 else rows
    if isinstance(value, list):
        return [as_mat73(inner, old) for inner in value]
    if isinstance(value, np.ndarray):
        if value.size == 0:
            return np.array(value.shape, dtype=np.uint64) if old else None
        return np.squeeze(value)
    return value


def assert_is_the_experiment(experiment, with_empty_block=False):
    """Check every number of what `make_element` built."""
    info = experiment.info
    assert (info.ephys_name, info.pref_channel, info.pref_unit) == ("Alfa-25112020-003", 12, 1)
    assert (info.session.animal, info.session.date) == ("Alfa", dt.date(2020, 11, 25))
    assert (info.area, info.spaces, info.optimizers) == (
        "IT", ("fc6", "BigGAN_class"), (None, None),
    )  # fmt: skip
    np.testing.assert_array_equal(info.position_deg, [0, -0.8])
    shown = 0
    for block in range(3):
        for thread in (0, 1):
            n_images = 0 if with_empty_block and (thread, block) == (0, 2) else SIZES[thread][block]
            found = experiment.threads[thread].blocks[block]
            np.testing.assert_array_equal(found.psth, psth_of(thread, block, n_images))
            np.testing.assert_array_equal(found.image_index, shown + np.arange(n_images))
            shown += SIZES[thread][block]


def test_a_matlab_file_reads_to_the_numbers_that_were_in_it(tmp_path):
    """Image indices count from 0, absent elements are absent, and nothing else is read."""
    write_mat(tmp_path, [None, make_element(), None])
    with load_neural_data(tmp_path) as recordings:
        assert (list(recordings), len(recordings), recordings.n_elements) == ([2], 1, 3)
        assert 2 in recordings
        assert 1 not in recordings
        assert_is_the_experiment(recordings[2])
        assert recordings.n_blocks(2) == recordings[2].n_blocks == 3
        assert recordings.info(2).title == (
            "Exp 002 Alfa-25112020-003 Pref chan12 U1\nimage size [3. 3.] deg  pos [ 0.  -0.8]\n"
            "Evol thr0: fc6   thr1: BigGAN_class"
        )
        names = recordings.image_names(2)
        assert len(names) == sum(map(sum, SIZES))
        assert names[:4] == [
            "block001_thread000_0", "block001_thread000_1", "block001_thread000_2",
            "block001_thread001_0",
        ]  # fmt: skip


@pytest.mark.parametrize("nesting", ["1x2 of cells", "2x1 of cells"])
def test_threads_may_be_cells_of_cells(tmp_path, nesting):
    """A cell per thread, in a row or in a column, reads as the 2 × n cell."""
    element = make_element()
    for part in ("evol", "ref"):
        for field in ("psth", "idx_seq"):
            cells = np.empty((1, 2), dtype=object)
            for thread in (0, 1):
                cells[0, thread] = element[part][field][[thread]]
            element[part][field] = cells if nesting.startswith("1x2") else cells.T
    element["evol"]["space_names"] = [["fc6"], ["BigGAN_class"]]
    with load_neural_data(write_mat(tmp_path, [element])) as recordings:
        assert_is_the_experiment(recordings[1])
        assert recordings.n_blocks(1) == 3


def test_references_are_read_and_may_be_missing(tmp_path):
    """An experiment without natural images has empty tuples of blocks."""
    without = make_element()
    del without["ref"]
    with load_neural_data(write_mat(tmp_path, [make_element(), without])) as recordings:
        references = recordings[1].threads[1].references
        np.testing.assert_array_equal(references[2].psth, psth_of(1, 2, 4))
        assert recordings[2].threads[0].references == ()


def empty_block_element():
    element = make_element()
    element["evol"]["psth"][0, 2] = np.zeros((200, 0))
    element["evol"]["idx_seq"][0, 2] = np.zeros((1, 0))
    return element


def test_an_explicitly_empty_block_has_no_images(tmp_path):
    """MATLAB's 200 × 0 is a block of no images."""
    with load_neural_data(write_mat(tmp_path, [empty_block_element()])) as recordings:
        assert_is_the_experiment(recordings[1], with_empty_block=True)


@pytest.mark.parametrize("old", [True, False], ids=["uint64 shapes", "None"])
@pytest.mark.parametrize("layout", ["merge", "merge inner", "expsep"])
def test_the_authors_pickles_read_to_the_same_objects(tmp_path, easydict, layout, old):
    """Columns of 190 or a list of EasyDicts, with old or new mat73's idea of an empty block."""
    element = as_mat73(empty_block_element() | {"Animal": None}, old)
    if layout == "expsep":
        absent = easydict(dict.fromkeys(FIELDS))
        nested = {k: easydict(v) if isinstance(v, dict) else v for k, v in element.items()}
        content = [absent, easydict(nested)]
    else:
        columns = {field: [None, element[field]] for field in FIELDS}
        content = {"BFEStats": columns} if layout == "merge" else columns
    name = EXPSEP_PICKLE if layout == "expsep" else MERGE_PICKLE
    (tmp_path / name).write_bytes(pickle.dumps(content))
    with load_neural_data(tmp_path) as recordings:
        assert recordings.path.name == name
        assert list(recordings) == [2]
        assert_is_the_experiment(recordings[2], with_empty_block=True)
        assert recordings.n_blocks(2) == 3
        assert len(recordings.image_names(2)) == sum(map(sum, SIZES))


def test_the_matlab_file_is_preferred_and_a_file_can_be_named(tmp_path):
    """In a folder the lazily read file wins; a path to a file is taken as it is."""
    (tmp_path / EXPSEP_PICKLE).write_bytes(pickle.dumps([as_mat73(make_element())] * 2))
    write_mat(tmp_path, [make_element()])
    with load_neural_data(tmp_path) as recordings:
        assert recordings.n_elements == 1
    with load_neural_data(tmp_path / EXPSEP_PICKLE) as recordings:
        assert recordings.n_elements == 2


def test_matroot_is_read_when_it_is_needed(tmp_path, monkeypatch):
    """The environment variable counts at the call, not at import, and an argument beats it."""
    write_mat(tmp_path, [make_element()])
    monkeypatch.setenv("MATROOT", str(tmp_path))
    with load_neural_data() as recordings:
        assert list(recordings) == [1]
    with pytest.raises(MissingDataError, match="does not exist"):
        load_neural_data(tmp_path / "elsewhere")
    monkeypatch.delenv("MATROOT")
    with pytest.raises(MissingDataError, match="set MATROOT"):
        load_neural_data()


def test_the_mark_of_a_simulator_is_told(tmp_path):
    """A root attribute says that no animal was recorded."""
    write_mat(tmp_path, [make_element()])
    with load_neural_data(tmp_path) as recordings:
        assert not recordings.simulated
    with write_v73(tmp_path / MAT_FILE, "x") as file:
        file.mark(SIMULATED_ATTRIBUTE, True)
        file.save_struct_array("BFEStats", FIELDS, [make_element()])
    with load_neural_data(tmp_path) as recordings:
        assert recordings.simulated


def _without_file(folder):
    (folder / "notes.txt").write_text("hello")


def _v5(folder):
    scipy.io.savemat(folder / MAT_FILE, {"BFEStats": 1})


def _cut_off(folder):
    write_mat(folder, [make_element()])
    content = (folder / MAT_FILE).read_bytes()
    (folder / MAT_FILE).write_bytes(content[: len(content) // 2])


def _pickle(content):
    def write(folder):
        (folder / MERGE_PICKLE).write_bytes(pickle.dumps(content))

    return write


def _matrix(folder):
    with write_v73(folder / MAT_FILE, "x") as file:
        file.save("BFEStats", np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (_without_file, MissingDataError, f"holds none of {MAT_FILE}, {EXPSEP_PICKLE}"),
        (_v5, MalformedDataError, r"v5 file, not v7\.3"),
        (_cut_off, MalformedDataError, "may be cut off"),
        (lambda f: write_mat(f, [], "Stats"), MalformedDataError, "BFEStats; its variables: Stats"),
        (_matrix, MalformedDataError, "BFEStats is not a struct array"),
        (_pickle([1, 2]), MalformedDataError, "neither a list of experiments nor"),
        (_pickle({"BFEStats": {"evol": [None], "ref": []}}), MalformedDataError, "of one length"),
        (_pickle({"BFEStats": {"evol": 3}}), MalformedDataError, "not lists of one length"),
    ],
    ids=["no file", "v5", "cut off", "no BFEStats", "matrix", "list", "ragged", "no lists"],
)
def test_a_folder_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, make, error, sentence):
    """Which file, what is wrong with it."""
    make(tmp_path)
    with pytest.raises(error, match=sentence):
        load_neural_data(tmp_path)


@pytest.mark.parametrize("expi", [0, 1, 4, -1])
def test_a_missing_experiment_is_told_with_what_there_is(expi):
    """Numbers outside the file and absent elements alike."""
    recordings = Recordings([{"evol": None}, as_matlab(make_element()), {}], "file.mat")
    with pytest.raises(MissingDataError, match=r"no experiment -?\d; it has 1 experiments of .* 3"):
        recordings[expi]


def _set(part, field, value):
    def change(element):
        element[part][field] = value

    return change


def _block(field, value):
    def change(element):
        element["evol"][field][1, 1] = value

    return change


def _delete(part, field):
    def change(element):
        del element[part][field]

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_set("meta", "ephysFN", "Caos-11252020-003"), "holds no calendar date"),
        (_set("meta", "ephysFN", "Caos-01022024-003"), "names of a session disagree"),
        (_set("meta", "ephysFN", "Alfa-26112020-003"), "names of a session disagree"),
        (_set("evol", "space_names", ["fc6"]), "do not name 2 spaces"),
        (_set("evol", "pref_chan", None), "field 'pref_chan' is empty"),
        (_set("evol", "pref_chan", np.array([0, 0], np.uint64)), "field 'pref_chan' is empty"),
        (_delete("evol", "idx_seq"), "there is no field 'idx_seq'"),
        (_delete("meta", "stimuli"), "there is no field 'stimuli'"),
        (_block("psth", np.zeros((199, 2))), r"shape \(199, 2\); expected \(200"),
        (_block("psth", np.zeros((200, 3))), r"\(200, 3\) for 2 images"),
        (_block("psth", np.full((200, 2), np.nan)), "NaN or infinity"),
        (_block("idx_seq", np.array([0.0, 1.0])), "an image index is below 1"),
        (_block("idx_seq", np.array([1.5, 2.0])), "not whole numbers"),
        (_block("idx_seq", np.ones((2, 2))), "expected a vector"),
        (_set("evol", "psth", [[], [], []]), "expected 2 threads"),
    ],
)
def test_a_damaged_experiment_names_file_number_and_fault(change, sentence):
    """One sentence that says which experiment of which file, and what is wrong."""
    element = make_element()
    change(element)
    recordings = Recordings([as_matlab(element)], "file.mat")
    with pytest.raises(MalformedDataError, match=f"^file.mat, experiment 1: .*{sentence}"):
        recordings[1]


def test_an_unknown_animal_is_refused_with_the_known_ones():
    """Channels of other animals are not mapped to areas."""
    element = make_element("Caos-25112020-003", "201125_Caos_generate_BigGAN")
    with pytest.raises(MalformedDataError, match=r"animal 'Caos' .* known animals: Alfa, Beto"):
        Recordings([as_matlab(element)], "file.mat").info(1)


@pytest.mark.parametrize(
    ("ephys_name", "control_name"),
    [("Alfa-25112020-003", ""), (None, "201125_Alfa_generate_BigGAN"), ("x", "201125_Alfa_g")],
)
def test_one_readable_name_is_enough(ephys_name, control_name):
    """Animal and date come from whichever name can be read."""
    element = make_element(ephys_name, control_name)
    session = Recordings([as_matlab(element)], "file.mat").info(1).session
    assert (session.animal, session.date) == ("Alfa", dt.date(2020, 11, 25))


def test_names_of_optimisers_are_taken_where_they_are_told():
    """Two names are two optimisers; none, or an empty cell, is None twice."""
    element = make_element()
    element["evol"]["optim_names"] = [["CMAES"], ["Concat ZOHA CMAES"]]
    info = Recordings([as_matlab(element)], "file.mat").info(1)
    assert info.optimizers == ("CMAES", "Concat ZOHA CMAES")
    element["evol"]["optim_names"] = np.array([0, 0], dtype=np.uint64)
    assert Recordings([as_matlab(element)], "file.mat").info(1).optimizers == (None, None)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, (200, 0)),
        (np.array([200, 0], dtype=np.uint64), (200, 0)),
        (np.array([0, 0], dtype=np.uint64), (200, 0)),
        (np.zeros((0, 0)), (200, 0)),
        (np.zeros(200), (200, 1)),
        (np.zeros((200, 1)), (200, 1)),
        (np.zeros((1, 200, 7)), (200, 7)),
        (np.zeros((200, 200)), (200, 200)),
    ],
)
def test_a_psth_has_two_axes_whatever_squeezed_it(value, shape):
    """All forms of empty, of one image, and with a leading axis."""
    assert as_psth(as_matlab(value)).shape == shape


@pytest.mark.parametrize(
    "value", [np.zeros((2, 200, 7)), np.zeros((200, 7, 1)), np.zeros(199), np.float64(3)]
)
def test_what_is_no_psth_is_refused(value):
    """Another length in time, or a third axis with more than one element."""
    with pytest.raises(MalformedDataError, match="a PSTH has shape"):
        as_psth(value)


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (None, []),
        (np.array([0, 0], dtype=np.uint64), []),
        (np.array(5.0), [4]),
        (np.array([[3.0, 1.0]]), [2, 0]),
        (np.array([[3.0], [1.0]]), [2, 0]),
        (np.array([3, 1], dtype=np.uint64), [2, 0]),
    ],
)
def test_image_indices_count_from_zero_whatever_squeezed_them(value, index):
    """Scalars, rows, columns and all forms of empty; whole uint64 indices are no shape."""
    found = as_image_index(as_matlab(value))
    assert found.tolist() == index
    assert found.dtype == np.intp


def test_texts_and_vectors_unwrap_one_value():
    """Cells in cells hold one text; several, or a number, are refused."""
    assert as_text(as_matlab([[np.array(["fc6"], dtype=object)]])) == "fc6"
    assert as_text(as_matlab(None)) == as_text(np.zeros((0, 0))) == as_text("") == ""
    assert flat(as_matlab([["a"], ["b", ["c"]]])) == ["a", "b", "c"]
    for wrong in (["a", "b"], 3.0):
        with pytest.raises(MalformedDataError, match="expected one text"):
            as_text(as_matlab(wrong))
    np.testing.assert_array_equal(as_vector(np.array([[1.0], [2.0]]), "x"), [1, 2])


def test_what_a_pickle_refers_to_many_times_is_made_once():
    """Lists of lists of the same list, which unfolded would be 10^12 texts; and one in itself."""
    inner = ["a"]
    for _ in range(12):
        inner = [inner] * 10
    made = as_matlab(inner)
    assert made.shape == (1, 10)
    assert made[0, 0] is made[0, 9]
    endless = []
    endless.append(endless)
    found = as_matlab(endless)
    assert found[0, 0] is found


def test_threads_of_unequal_length_are_refused():
    """Both threads ran in the same blocks."""
    with pytest.raises(MalformedDataError, match="same number of blocks"):
        per_thread(as_matlab([[np.zeros(1)], [np.zeros(1), np.zeros(1)]]))


def test_blocks_check_their_meaning_at_birth():
    """A PSTH belongs to as many images as there are indices."""
    assert Block(np.zeros((200, 2)), np.array([4, 7])).n_images == 2
    with pytest.raises(MalformedDataError, match="for 1 images"):
        Block(np.zeros((200, 2)), np.array([4]))


def test_a_cut_pickle_of_recordings_is_not_said_to_have_a_csv(tmp_path):
    """What helps is the MATLAB file that it was made of."""
    content = pickle.dumps([np.zeros(99)])
    (tmp_path / EXPSEP_PICKLE).write_bytes(content[:-50])
    told = r"is not a readable pickle .* get it again, or read the MATLAB file that it was made of"
    with pytest.raises(MalformedDataError, match=told), load_neural_data(tmp_path):
        pass
