"""Feed damaged files to every reader, for a bounded time: out comes data, or one sentence.

``python -m benchmarks.fuzz --seconds 60 [--target NAME]``. Valid samples are damaged byte by byte
or value by value. Anything but success or a `UserError` is a finding: it is made small, printed,
and its files are kept. Every target runs in a process of its own, as C libraries may crash.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.fuzz"))

import argparse
import copy
import io
import itertools
import json
import pickle
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import scipy.io
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from hypothesis.strategies import SearchStrategy
from PIL import Image

from core.errors import MalformedDataError, UserError
from core.insilico.sweeps.file import read_sweep
from core.reading.array_files import read_arrays
from core.reading.safe_pickle import load_pickle
from core.source_tables import osf
from core.source_tables.layouts import Columns, Grid, JsonObject, Layout, PickledDict, PickledTable
from core.source_tables.placement import choose_files, files_of, place
from core.source_tables.provenance import PROVENANCE_FILE, Provenance, read_provenance
from core.source_tables.reader import SourceData
from core.source_tables.registry import TABLES
from figure_reproduction.page.report import write_report
from neuro_data_analysis.evolution.codes import read_latent_codes, read_merged_codes
from neuro_data_analysis.evolution.population import collect
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.neural_data_lib import EXPSEP_PICKLE, MAT_FILE, load_neural_data
from neuro_data_analysis.neural_data_utils import is_reference_image, parse_session
from neuro_data_analysis.similarity.montages import read_montage
from neuro_data_analysis.tuning.sessions import (
    SESSION_LIST_FILE,
    parse_stimulus_names,
    read_session,
    read_session_list,
)

#: No reader may take longer over one damaged file, or more memory.
LONGEST_READ_S = 20
MOST_MEMORY_BYTES = 6 << 30

#: Inputs of one round; after each, the clock is looked at.
ROUND = 200

#: What damaged text and binary files like to hold.
TOKENS = (
    b"", b"\n", b",", b'"', b"\x00", b"\xff\xfe", b"nan", b"NaN", b"inf", b"-", b"1e999", b"9" * 40,
    b"True", b"{", b"[", b"}", b"]", b":", b"null", b"\\u0000", b"..", b"/", b"\xf0\x9f\x90\x92",
    b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"(", b".", b"e", b" ", b"\r", b"\t", b"#",
)  # fmt: skip

#: What stands where something else should.
ODD_VALUES: tuple[Any, ...] = (
    None, "", "x", "\x00", 0, -1, 2**40, 10**30, 1.5, float("nan"), float("inf"), True, b"x", 1j,
    [], {}, [[]], [None], ["a", "b"], {"a": 1}, [[1, 2], [3]], (), np.zeros(0), np.zeros((0, 3)),
    np.zeros((3, 3)), np.zeros((2, 2, 2)), np.full(3, np.nan), np.array(["a"], dtype=object),
    np.array([0, 0], dtype=np.uint64), np.array([1 + 2j]), np.array("text"), np.float32(2.5),
    np.array([[None, None]], dtype=object), pd.DataFrame({"a": [1]}),
)  # fmt: skip

_ROOT = Path(__file__).resolve().parents[1]
_OUR_PACKAGES = tuple(
    str(_ROOT / package) for package in ("core", "neuro_data_analysis", "figure_reproduction")
)

#: Name → bytes.
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    name : str
    cases : callable
        Makes the strategy of its inputs.
    read : callable
        (input, empty folder) → reads all of it.
    """

    name: str
    cases: Callable[[], SearchStrategy[Any]]
    read: Callable[[Any, Path], Any]


def damaged_bytes(samples: Sequence[Files]) -> SearchStrategy[Files]:
    """Damage one file of a sample by a few edits."""
    edit = st.tuples(
        st.sampled_from(("replace", "insert", "delete", "cut", "repeat", "flip")),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=12)),
    )
    edits = st.lists(edit, max_size=5)

    def damage(sample: Files, which: int, changes: list[tuple[str, float, bytes]]) -> Files:
        name = list(sample)[which % len(sample)]
        content = sample[name]
        for change in changes:
            content = _edited(content, *change)
        return {**sample, name: content}

    return st.builds(damage, st.sampled_from(samples), st.integers(0, 20), edits)


def damaged_values(samples: Sequence[Any]) -> SearchStrategy[Any]:
    """Put odd values into a nested structure, or leave parts of it out."""
    values = st.one_of(st.just(_GONE), st.sampled_from(ODD_VALUES))
    change = st.tuples(st.integers(0, 10_000), values)

    def damage(sample: Any, changes: list[tuple[int, Any]]) -> Any:
        changed = copy.deepcopy(sample)
        for number, value in changes:
            places = list(_places(changed))
            if places:
                container, key = places[number % len(places)]
                _put(container, key, value)
        return changed

    return st.builds(damage, st.sampled_from(samples), st.lists(change, max_size=4))


_GONE = object()


def _edited(content: bytes, kind: str, place: float, token: bytes) -> bytes:
    at = int(place * len(content))
    if kind == "replace":
        return content[:at] + token + content[at + len(token) :]
    if kind == "insert":
        return content[:at] + token + content[at:]
    if kind == "delete":
        return content[:at] + content[at + 8 * len(token) + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "repeat":
        return content[:at] + content[at : at + 40] * (len(token) + 1) + content[at:]
    flipped = bytes(byte ^ (1 << len(token) % 8) for byte in content[at : at + 1])
    return content[:at] + flipped + content[at + 1 :]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Go through every (container, key) of a nested structure."""
    if isinstance(value, dict):
        keys: Any = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    elif isinstance(value, np.ndarray) and value.dtype == object:
        keys = list(np.ndindex(value.shape))
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _put(container: Any, key: Any, value: Any) -> None:
    if value is not _GONE:
        container[key] = copy.deepcopy(value)
    elif not isinstance(container, np.ndarray):
        del container[key]


def _written(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _experiment(n_blocks: int = 2, n_images: int = 2) -> dict[str, Any]:
    """Build one paired evolution as MATLAB holds it."""
    psth, index = (np.empty((2, n_blocks), dtype=object) for _ in range(2))
    names = []
    for number, (block, thread) in enumerate(np.ndindex(n_blocks, 2)):
        psth[thread, block] = np.arange(200.0 * n_images).reshape(200, n_images)
        index[thread, block] = 1.0 + number * n_images + np.arange(n_images)[np.newaxis]
        names += [f"block{block + 1:03d}_thread{thread:03d}_{n}" for n in range(n_images)]
    return {
        "Animal": "Alfa",
        "evol": {
            "psth": psth, "idx_seq": index, "imgpos": np.array([[0.0, -0.8], [0.0, -0.8]]),
            "imgsize": np.array([3.0, 3.0]), "pref_chan": np.array([12.0, 12.0]),
            "unit_in_pref_chan": np.array([1.0, 1.0]), "space_names": ["fc6", "BigGAN"],
            "optim_names": ["CMAES", "CMAES_Hessian"],
        },
        "ref": {"psth": psth, "idx_seq": index},
        "imageName": np.array(names, dtype=object)[:, np.newaxis],
        "meta": {
            "ephysFN": "Alfa-25112020-003", "expControlFN": "201125_Alfa_generate_BigGAN(1)",
            "stimuli": "N:\\Stimuli\\2020-BigGAN\\x",
        },
    }  # fmt: skip


def _as_lists(value: Any) -> Any:
    """Return a structure as a pickle of the authors holds it: cells are lists."""
    if isinstance(value, dict):
        return {name: _as_lists(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_as_lists(inner) for inner in value.tolist()]
    return [_as_lists(inner) for inner in value] if isinstance(value, list) else value


def _read_recordings(folder: Path) -> None:
    with load_neural_data(folder) as recordings:
        for expi in recordings:
            recordings.info(expi)
            recordings.n_blocks(expi)
            recordings.image_names(expi)
            _ = recordings[expi]
        collect(recordings)


def _save_v73(values: Mapping[str, Any], path: Path) -> bytes:
    with write_v73(path, "fuzz") as file:
        for name, value in values.items():
            file.save(name, value)
    return path.read_bytes()


def _v73_files(contents: Mapping[str, Mapping[str, Any]]) -> list[Files]:
    with tempfile.TemporaryDirectory() as folder:
        return [{name: _save_v73(values, Path(folder) / name)} for name, values in contents.items()]


def _matlab_recordings() -> SearchStrategy[Files]:
    elements = {"BFEStats": {k: v for k, v in _experiment().items() if k != "Animal"}}
    return damaged_bytes(_v73_files({MAT_FILE: elements}))


def _read_matlab_values(value: Any, folder: Path) -> None:
    try:
        _save_v73({"BFEStats": value}, folder / MAT_FILE)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return  # the writer of samples need not know every odd value
    _read_recordings(folder)


def _read_pickled_values(value: Any, folder: Path) -> None:
    (folder / EXPSEP_PICKLE).write_bytes(pickle.dumps(value))
    _read_recordings(folder)


def _tuning_session() -> dict[str, Any]:
    names = ["class_eig0_lin0.16", "noise_eig3_lin-0.40", "class_eig0_lin0.00", "face"]
    return {
        "rasters": np.ones((4, 200, 2), dtype=np.float32),
        "meta": {"spikeID": np.array([[5.0, 6.0]]), "unitID": np.array([[1.0, 1.0]])},
        "Trials": {"imageName": names, "B": None},
    }


_SESSION = "Alfa-25112020-003"


def _read_tuning_values(value: Any, folder: Path) -> None:
    (folder / f"{_SESSION}.pkl").write_bytes(pickle.dumps(value))
    session = read_session(folder, _SESSION)
    parse_stimulus_names(session.image_names)
    session.psth(5, 1)


def _matlab_tuning() -> SearchStrategy[Files]:
    session = _tuning_session()
    session["rasters"] = session["rasters"].T
    session["Trials"] = {"imageName": np.array(session["Trials"]["imageName"], object)}
    return damaged_bytes(_v73_files({f"{_SESSION}_formatted.mat": session}))


def _read_tuning_files(files: Files, folder: Path) -> None:
    read_session(_written(files, folder), _SESSION)


def _session_lists() -> SearchStrategy[Files]:
    text = "Animal,Expi,ephysFN,pref_chan,pref_unit,stimuli\nAlfa,3,Alfa-25112020-003,5,1,N:\\x\n"
    return damaged_bytes([{SESSION_LIST_FILE: text.encode()}])


def _sweep_files() -> SearchStrategy[Files]:
    text = (
        'nets = ["resnet50"]\nlayers = {resnet50 = [".layer3.Bottleneck5", ".Linearfc"]}\n'
        'channels = [0, 20]\noptimizers = {BigGAN = ["CholCMA"], fc6 = ["HessCMA500"]}\n'
        'hessians = {fc6 = "Evolution_Avg_Hess.npz"}\nsteps = 100\nrepetitions = 10\n'
    )
    return damaged_bytes([{"sweep.toml": text.encode()}])


def _read_sweep_file(files: Files, folder: Path) -> None:
    read_sweep(_written(files, folder) / "sweep.toml").cells(folder)


def _pickles() -> SearchStrategy[Files]:
    table = pd.DataFrame(
        {"text": ["a", "b"], "flag": [True, False], "number": [0.1, np.nan], "list": [[1], [2, 3]]}
    )
    table["kind"] = pd.Categorical(["u", "v"])
    content = {
        "table": table, "indexed": table.set_index("text"), "column": table["number"],
        "arrays": [np.zeros((2, 3)), np.array(["a", None], object), np.array(["x", "yy"])],
        "scalars": [np.float64(1), np.str_("s"), 1j, b"b", None, True, 2**70],
        "cells": [_as_lists(_experiment(1, 1))],
    }  # fmt: skip
    samples = [{"x.pkl": pickle.dumps(content, protocol=protocol)} for protocol in (2, 3, 4, 5)]
    samples += [{"x.pkl": pickle.dumps(part, protocol=4)} for part in content.values()]
    return damaged_bytes(samples)


def _sample(layout: Layout | None) -> Any:
    """Build the smallest value that a layout accepts."""
    if isinstance(layout, Grid):
        rows, columns = (n if isinstance(n, int) else 3 for n in (layout.rows, layout.columns))
        return np.ones((rows, columns))
    if isinstance(layout, Columns):
        rows = layout.rows if isinstance(layout.rows, int) else 3
        values = {
            name: ["a, b"] * rows if name in layout.text else [1] * rows if name in layout.flags
            else [1.5, 2, -3e-7][:rows]
            for name in layout.names
        }  # fmt: skip
        return pd.DataFrame(values)
    if isinstance(layout, JsonObject):
        return {key: "text" if kind is str else 3 for key, kind in layout.keys.items()}
    if isinstance(layout, PickledDict):
        return {key: _sample(part) for key, part in layout.parts.items()}
    if isinstance(layout, PickledTable):
        arrays = {name: [np.ones((1, 4))] * 3 for name in layout.arrays}
        return _sample(layout.columns).assign(**arrays)
    return 1.0


def _table_files() -> list[Files]:
    """Write one sample of every table of the registry: key → bytes."""
    samples: list[Files] = []
    with tempfile.TemporaryDirectory() as folder:
        for key, spec in TABLES.items():
            path = Path(folder) / "table"
            spec.layout.write(path, _sample(spec.layout))
            samples.append({key: path.read_bytes()})
    return samples


def _read_table(files: Files, folder: Path) -> None:
    ((key, content),) = files.items()
    spec = TABLES[key]
    path = spec.path(folder, spec.members[0])
    _written({path.relative_to(folder).as_posix(): content}, folder)
    SourceData(folder).read(key, **spec.members[0])


def _stimulus_names() -> SearchStrategy[list[str]]:
    valid = ["class_eig0_lin0.16", "noise_eig12_exp2.5_lin-1.0", "class_eig1_lin+.5", "face_03"]
    names = st.one_of(
        st.text(max_size=40),
        st.from_regex(r"(class|noise)_eig\d+_(exp[+-]?\d+_)?lin[+-]?\d+(\.\d+)?.*"),
        damaged_bytes([{name: name.encode()} for name in valid]).map(
            lambda files: next(iter(files.values())).decode("utf-8", "replace")
        ),
    )
    return st.lists(names, max_size=6)


def _session_names() -> SearchStrategy[list[str]]:
    valid = ["Alfa-25112020-003", "Beto64chan-02102019-001", "201125_Alfa_generate_BigGAN(1)"]
    names = st.one_of(
        st.text(max_size=40),
        st.from_regex(r"\A[A-Za-z0-9]+-\d{8}-\d{3}|\A\d{6}_\w+_.*"),
        damaged_bytes([{name: name.encode()} for name in valid]).map(
            lambda files: next(iter(files.values())).decode("utf-8", "replace")
        ),
    )
    return st.lists(names, min_size=2, max_size=2)


def _read_session_names(names: list[str], folder: Path) -> None:
    is_reference_image(names[0])
    parse_session(*names)


def _code_files() -> SearchStrategy[Files]:
    ids = np.array([["gen000_000001"], ["gen000_000002"]], dtype=object)
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "code.mat"
        for packed in (False, True):
            content = {"codes": np.ones((2, 4)), "ids": ids}
            scipy.io.savemat(path, content, do_compression=packed)
            samples.append({"block000_thread000_code.mat": path.read_bytes()})
    return damaged_bytes(samples)


def _merged_code_files() -> SearchStrategy[Files]:
    names = np.array(["a.bmp", "b.bmp"], dtype=object)
    content = {"codes_all": np.ones((2, 4)), "code_geni": np.array([[1.0, 2.0]]), "img_ids": names}
    return damaged_bytes(_v73_files({"Exp001_thread1_all_codes.mat": content}))


def _read_merged(files: Files, folder: Path) -> None:
    read_merged_codes(_written(files, folder) / next(iter(files)))


_FIGURE = {
    "figure": "Figure4", "title": "t", "command": "c", "software": {"numpy": "2"},
    "panels": {
        "4A": {
            "caption": "c", "pictures": {"4A": ["4A.png"]}, "inputs": {"Fig4/a.csv": "0" * 64},
            "provenance": {"kind": "found", "details": {"from": "x"}, "explanation": "e"},
            "statistics": [
                {"quantity": "n_valid", "value": 10, "area": "V1", "space": "",
                 "published": 10.0, "verdict": "equal"},
            ],
        },
    },
}  # fmt: skip

_NOTE = {
    "kind": "computed", "details": {"seed": "1"},
    "files": {"a.csv": {"kind": "found", "details": {}}},
}  # fmt: skip

_LOCK = {"project": "pre96", "files": {"Fig4/a.csv": {"sha256": "0" * 64, "size": 3}}}

_LISTING = {
    "data": [
        {"attributes": {"kind": "folder", "name": "Fig4"},
         "relationships": {"files": {"links": {"related": {"href": "https://api.osf.io/x"}}}}},
        {"attributes": {"kind": "file", "name": "a.csv", "size": 3,
                        "materialized_path": "/Fig4/a.csv",
                        "extra": {"hashes": {"sha256": "0" * 64}}},
         "links": {"download": "https://osf.io/download/x"}},
    ],
    "links": {"next": None},
}  # fmt: skip


def _json_files() -> SearchStrategy[Files]:
    named: dict[str, Any] = {
        "Figure4.json": _FIGURE, PROVENANCE_FILE: _NOTE, osf.LOCK_FILE: _LOCK, "page": _LISTING,
    }  # fmt: skip

    def written(name: str) -> SearchStrategy[Files]:
        plain = st.builds(lambda value: {name: _json_bytes(value)}, damaged_values([named[name]]))
        return st.one_of(plain, damaged_bytes([{name: _json_bytes(named[name])}]))

    return st.one_of(*map(written, named))


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


def _read_json_file(files: Files, folder: Path) -> None:
    _written(files, folder)
    if "page" in files:
        empty = folder / "empty"
        empty.write_bytes(b'{"data": [], "links": {"next": null}}')
        pages = itertools.chain([folder / "page"], itertools.repeat(empty))
        with mock.patch.object(osf, "download", side_effect=lambda *_, **__: next(pages)):
            list(osf.list_storage(osf.LISTING_URL))
    read_provenance(folder)
    list(osf.changed_since_fetch(folder))
    write_report(folder)


def _archives() -> SearchStrategy[Files]:
    samples = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("Fig4_Source_data/Fig4A_sucs_labels.txt", b'{"sucs_label": ""}\n' * 9)
            archive.writestr("ExtendedFig4_Source_data/FigureExt4_meta_df.csv", b"Expi\n3\n")
        samples.append({"osf.zip": buffer.getvalue()})
    return damaged_bytes(samples)


def _read_archive(files: Files, folder: Path) -> None:
    with files_of(_written(files, folder) / "osf.zip") as found:
        chosen, _ = choose_files(found)
        place(chosen, folder / "out", Provenance("found"))


def _array_files() -> SearchStrategy[Files]:
    samples = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, eigv_avg=np.arange(3.0), eigvect_avg=np.eye(3), names=np.array(["a", "bb"]))
        samples.append({"x.npz": buffer.getvalue()})
    return damaged_bytes(samples)


def _read_array_file(files: Files, folder: Path) -> None:
    try:
        read_arrays(_written(files, folder) / "x.npz")
    except ValueError as error:  # what its callers turn into a sentence
        raise MalformedDataError(str(error)) from error


def _pictures() -> SearchStrategy[Files]:
    samples = []
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.new("RGB", (896, 672)).save(buffer, kind)
        samples.append({"x.jpg": buffer.getvalue()})
    return damaged_bytes(samples)


def _weights() -> SearchStrategy[Files]:
    import torch
    from safetensors.torch import save

    state = {"conv.weight": torch.ones(2, 1, 3, 3), "conv.bias": torch.zeros(2)}
    samples = [{"x.safetensors": save(state)}]
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        samples.append({"x.pt": buffer.getvalue()})
    return damaged_bytes(samples)


def _read_weights(files: Files, folder: Path) -> None:
    from core.utils.weights.state_dicts import read_state_dict

    read_state_dict(_written(files, folder) / next(iter(files)))


TARGETS = {
    target.name: target
    for target in (
        Target("pickles", _pickles, lambda f, at: load_pickle(_written(f, at) / "x.pkl")),
        Target("tables", lambda: damaged_bytes(_table_files()), _read_table),
        Target("recordings", _matlab_recordings, lambda f, at: _read_recordings(_written(f, at))),
        Target("recorded values", lambda: damaged_values([_experiment()]), _read_matlab_values),
        Target(
            "pickled recordings",
            lambda: damaged_values([[None, _as_lists(_experiment())], [_experiment()]]),
            _read_pickled_values,
        ),
        Target("tuning values", lambda: damaged_values([_tuning_session()]), _read_tuning_values),
        Target("tuning files", _matlab_tuning, _read_tuning_files),
        Target("session lists", _session_lists, lambda f, at: read_session_list(_written(f, at))),
        Target("stimulus names", _stimulus_names, lambda names, _: parse_stimulus_names(names)),
        Target("session names", _session_names, _read_session_names),
        Target("latent codes", _code_files, lambda f, at: read_latent_codes(_written(f, at), 0)),
        Target("merged codes", _merged_code_files, _read_merged),
        Target("json", _json_files, _read_json_file),
        Target("archives", _archives, _read_archive),
        Target("arrays", _array_files, _read_array_file),
        Target("pictures", _pictures, lambda f, at: read_montage(_written(f, at) / "x.jpg")),
        Target("weights", _weights, _read_weights),
        Target("sweep files", _sweep_files, _read_sweep_file),
    )
}


@dataclass
class Tally:
    """What came of the inputs of one target."""

    inputs: int = 0
    read: int = 0
    refused: int = 0


class Finding(Exception):
    """A reader raised something that is no sentence for a user."""


def try_input(target: Target, case: Any, folder: Path, tally: Tally, known: set[str]) -> None:
    """Read one input in an emptied folder; raise `Finding` for what is not known yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tally.inputs += 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.read(case, folder)
        tally.read += 1
    except UserError:
        tally.refused += 1
    except Exception as error:
        if _signature(error) not in known:
            raise Finding(_signature(error)) from error


def _signature(error: BaseException) -> str:
    """Return the kind of an error and the last line of this project that it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(_OUR_PACKAGES)]
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


def run_target(target: Target, seconds: float, first_seed: int, folder: Path) -> Tally:
    """Feed one target until the time is over; print findings."""
    tally, known = Tally(), set[str]()
    ends, cases = time.monotonic() + seconds, target.cases()
    for number in itertools.count(first_seed):
        if time.monotonic() > ends:
            return tally
        try:
            _round(target, cases, number, folder, tally, known, ends)
        except (Finding, FlakyFailure) as finding:
            known.add(str(finding))
            print(f"FINDING {target.name}: {finding}: {finding.__cause__!s:.200}", flush=True)
            shutil.copytree(folder, folder.with_name(f"finding{len(known)}"))
    return tally


def _round(
    target: Target, cases: SearchStrategy[Any], number: int, folder: Path, tally: Tally,
    known: set[str], ends: float,
) -> None:  # fmt: skip
    def too_slow(*_: Any) -> None:
        raise TimeoutError(f"reading took more than {LONGEST_READ_S} s")

    signal.signal(signal.SIGALRM, too_slow)

    @settings(
        max_examples=ROUND, database=None, deadline=None, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @seed(number)
    @given(cases)
    def feed(case: Any) -> None:
        if time.monotonic() > ends:
            return
        signal.alarm(LONGEST_READ_S)
        try:
            try_input(target, case, folder, tally, known)
        finally:
            signal.alarm(0)

    feed()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: 0 nothing found, 1 something."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all (default: 60)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this")
    parser.add_argument("--seed", type=int, default=0, help="of the first round (default: 0)")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    targets = [TARGETS[name] for name in options.target or TARGETS]
    if options.scratch:
        return _work(targets[0], options.seconds, options.seed, options.scratch)
    keep, share = Path(tempfile.mkdtemp(prefix="fuzz-")), options.seconds / len(targets)
    found = [_watch(target, share, options.seed, keep) for target in targets]
    print(f"the files of every finding are in {keep}")
    return int(any(found))


def _work(target: Target, seconds: float, first_seed: int, scratch: Path) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    print(json.dumps(vars(run_target(target, seconds, first_seed, scratch / "input"))))
    return 0


def _watch(target: Target, seconds: float, first_seed: int, keep: Path) -> bool:
    """Run a target in processes of its own until its time is over; return whether it found a thing.

    A process that a C library brings down leaves its last input behind.
    """
    ends, tally, findings = time.monotonic() + seconds, Tally(), []
    for attempt in itertools.count():
        if (left := ends - time.monotonic()) < min(1, seconds / 2):
            break
        scratch = keep / f"{target.name.replace(' ', '_')}{attempt}"
        command = [
            sys.executable, "-W", "ignore", "-m", "benchmarks.fuzz", "--target", target.name,
            "--seconds", str(left), "--seed", str(first_seed + 1000 * attempt),
            "--scratch", str(scratch),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        *told, last = done.stdout.splitlines() or [""]
        if done.returncode == 0:
            tally = Tally(*(getattr(tally, name) + n for name, n in json.loads(last).items()))
        else:
            told += [last, f"CRASH {target.name}: exit {done.returncode} {done.stderr[-400:]}"]
        findings += [line for line in told if line.startswith(("FINDING", "CRASH"))]
    print(f"{target.name:18} {tally.inputs:7} inputs {tally.read:7} read {tally.refused:7} refused")
    print("".join(f"  {line}\n" for line in findings), end="", flush=True)
    return bool(findings)
