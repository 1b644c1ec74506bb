"""Every reader of files that others wrote, with small valid samples of what it reads."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pandas as pd
import scipy.io
from PIL import Image

from core.errors import MalformedDataError
from core.insilico.latent_linearity.codes import read_hessian
from core.insilico.paired_evolution.folders import read_archive
from core.insilico.resumable import NOTE_FILE, claim_folder
from core.insilico.sweeps.cells import SweepCell, read_cell
from core.insilico.sweeps.file import read_sweep
from core.reading.array_files import read_arrays
from core.reading.download import download
from core.reading.safe_pickle import load_pickle
from core.rig import sockets
from core.rig.blocks import Request
from core.rig.folder import read_request, write_request
from core.rig.response_files import read_responses
from core.source_tables import osf
from core.source_tables.layouts import Columns, Grid, JsonObject, Layout, PickledDict, PickledTable
from core.source_tables.placement import choose_files, files_of, place
from core.source_tables.provenance import PROVENANCE_FILE, Provenance, read_provenance
from core.source_tables.reader import SourceData
from core.source_tables.registry import TABLES
from core.utils.optimizers.cma import CholeskyCMAES
from core.utils.optimizers.state import read_state
from figure_reproduction.page.report import write_report
from figure_reproduction.page.runs import RUN_FILE, read_runs
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

#: Name → bytes.
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    name : str
    samples : callable
        Makes valid inputs: files (name → bytes), or nested values.
    read : callable
        (input, empty folder) → reads all of it.
    of_values : bool
        Whether values are damaged rather than bytes.
    """

    name: str
    samples: Callable[[], Sequence[Any]]
    read: Callable[[Any, Path], Any]
    of_values: bool = False


def _written(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        if "/" in name:
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


def _matlab_recordings() -> list[Files]:
    elements = {"BFEStats": {k: v for k, v in _experiment().items() if k != "Animal"}}
    return _v73_files({MAT_FILE: elements})


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


def _matlab_tuning() -> list[Files]:
    session = _tuning_session()
    session["rasters"] = session["rasters"].T
    session["Trials"] = {"imageName": np.array(session["Trials"]["imageName"], object)}
    return _v73_files({f"{_SESSION}_formatted.mat": session})


def _read_tuning_files(files: Files, folder: Path) -> None:
    read_session(_written(files, folder), _SESSION)


def _session_lists() -> list[Files]:
    text = "Animal,Expi,ephysFN,pref_chan,pref_unit,stimuli\nAlfa,3,Alfa-25112020-003,5,1,N:\\x\n"
    return [{SESSION_LIST_FILE: text.encode()}]


def _sweep_files() -> list[Files]:
    text = (
        'nets = ["resnet50"]\nlayers = {resnet50 = [".layer3.Bottleneck5", ".Linearfc"]}\n'
        'channels = [0, 20]\noptimizers = {BigGAN = ["CholCMA"], fc6 = ["HessCMA500"]}\n'
        'hessians = {fc6 = "Evolution_Avg_Hess.npz"}\nsteps = 100\nrepetitions = 10\n'
    )
    return [{"sweep.toml": text.encode()}]


def _read_sweep_file(files: Files, folder: Path) -> None:
    read_sweep(_written(files, folder) / "sweep.toml").cells(folder)


def _pickles() -> list[Files]:
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
    given: list[tuple[Any, int]] = [(content, protocol) for protocol in (2, 3, 4, 5)]
    given += [(part, 4) for part in content.values()]
    return [{"x.pkl": pickle.dumps(part, protocol=protocol)} for part, protocol in given]


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


def _table_files() -> Sequence[Files]:
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


def _read_stimulus_names(files: Files, _: Path) -> None:
    parse_stimulus_names(files["names"].decode("utf-8", "replace").split("\n"))


def _read_session_names(files: Files, _: Path) -> None:
    names = files["names"].decode("utf-8", "replace").split("\n")
    is_reference_image(names[0])
    parse_session(names[0], names[-1])


def _code_files() -> list[Files]:
    ids = np.array([["gen000_000001"], ["gen000_000002"]], dtype=object)
    samples: list[Files] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "code.mat"
        for packed in (False, True):
            content = {"codes": np.ones((2, 4)), "ids": ids}
            scipy.io.savemat(path, content, do_compression=packed)
            samples.append({"block000_thread000_code.mat": path.read_bytes()})
    return samples


def _merged_code_files() -> list[Files]:
    names = np.array(["a.bmp", "b.bmp"], dtype=object)
    content = {"codes_all": np.ones((2, 4)), "code_geni": np.array([[1.0, 2.0]]), "img_ids": names}
    return _v73_files({"Exp001_thread1_all_codes.mat": content})


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


_JSON_FILES = (
    {"Figure4.json": _FIGURE}, {PROVENANCE_FILE: _NOTE}, {osf.LOCK_FILE: _LOCK},
    {"page": _LISTING}, {RUN_FILE: {"Figure4": {"command": "c", "at": "t"}}},
)  # fmt: skip


def _as_json(contents: Mapping[str, Any]) -> Files:
    return {name: _json_bytes(value) for name, value in contents.items()}


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


def _read_json_files(files: Files, folder: Path) -> None:
    _written(files, folder)
    if "page" in files:
        empty = folder / "empty"
        empty.write_bytes(b'{"data": [], "links": {"next": null}}')
        pages = itertools.chain([folder / "page"], itertools.repeat(empty))
        with mock.patch.object(osf, "download", side_effect=lambda *_, **__: next(pages)):
            list(osf.list_storage(osf.LISTING_URL))
    read_provenance(folder)
    list(osf.changed_since_fetch(folder))
    read_runs(folder)
    write_report(folder)


def _archives() -> list[Files]:
    samples: list[Files] = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("Fig4_Source_data/Fig4A_sucs_labels.txt", b'{"sucs_label": ""}\n' * 9)
            archive.writestr("ExtendedFig4_Source_data/FigureExt4_meta_df.csv", b"Expi\n3\n")
        samples.append({"osf.zip": buffer.getvalue()})
    return samples


def _read_archive(files: Files, folder: Path) -> None:
    with files_of(_written(files, folder) / "osf.zip") as found:
        chosen, _ = choose_files(found)
        place(chosen, folder / "out", Provenance("found"))


def _array_files() -> list[Files]:
    samples: list[Files] = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, eigv_avg=np.arange(3.0), eigvect_avg=np.eye(3), names=np.array(["a", "bb"]))
        samples.append({"x.npz": buffer.getvalue()})
    return samples


def _read_array_file(files: Files, folder: Path) -> None:
    try:
        read_arrays(_written(files, folder) / "x.npz")
    except ValueError as error:  # what its callers turn into a sentence
        raise MalformedDataError(str(error)) from error


def _pictures() -> list[Files]:
    samples: list[Files] = []
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.new("RGB", (896, 672)).save(buffer, kind)
        samples.append({"x.jpg": buffer.getvalue()})
    return samples


def _weights() -> list[Files]:
    import torch
    from safetensors.torch import save

    state = {"conv.weight": torch.ones(2, 1, 3, 3), "conv.bias": torch.zeros(2)}
    samples: list[Files] = [{"x.safetensors": save(state)}]
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        samples.append({"x.pt": buffer.getvalue()})
    return samples


def _read_weights(files: Files, folder: Path) -> None:
    from core.utils.weights.state_dicts import read_state_dict

    read_state_dict(_written(files, folder) / next(iter(files)))


def _hessians() -> list[Files]:
    buffer = io.BytesIO()
    np.savez(buffer, eigv_avg=np.arange(3.0), eigvect_avg=np.eye(3))
    return [{"h.npz": buffer.getvalue()}]


def _run_archives() -> list[Files]:
    buffer = io.BytesIO()
    np.savez(buffer, scores_all=np.arange(6.0), generations=np.repeat([0, 1], 3), untrained=True)
    return [{"scores.npz": buffer.getvalue()}]


def _optimizer() -> CholeskyCMAES:
    return CholeskyCMAES(3, init_code=np.zeros(3), random_seed=0)


def _optimizer_states() -> list[Files]:
    optimizer = _optimizer()
    optimizer.tell(np.ones(len(optimizer.ask())))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        optimizer.save_state(path)
        return [{path.name: path.read_bytes()}]


def _read_optimizer_file(files: Files, folder: Path) -> None:
    _optimizer().load_state_dict(read_state(_written(files, folder) / "state.npz"))


def _optimizer_values() -> list[dict[str, Any]]:
    (files,) = _optimizer_states()
    with np.load(io.BytesIO(files["state.npz"])) as saved:
        return [{name: saved[name].tolist() for name in saved.files}]


def _read_optimizer_values(state: Any, _: Path) -> None:
    arrays = {}
    for name, value in state.items():
        try:
            arrays[name] = np.asarray(value)
        except ValueError:  # no array of a file is ragged
            return
    _optimizer().load_state_dict(arrays)


def _rig_tables() -> list[Files]:
    return [{"r.csv": b"stimulusID,tEvokedResp_1,tEvokedResp_2\na,1.5,2\nb,,3\nc,4,5e1\n"}]


def _rig_arrays() -> list[Files]:
    names, evoked = np.array(["a", "b", "c"], dtype=object), np.ones((3, 2))
    psth = np.ones((3, 200))
    samples: list[Files] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.mat"
        for packed in (False, True):
            content = {"stimulusID": names, "tEvokedResp": evoked, "psth": psth}
            scipy.io.savemat(path, content, do_compression=packed)
            samples.append({"r.mat": path.read_bytes()})
        with h5py.File(path, "w") as file:
            file["stimulusID"], file["tEvokedResp"] = names.tolist(), evoked
        samples.append({"r.mat": path.read_bytes()})
    content = {"stimulusID": names[np.newaxis], "tEvokedResp": evoked}
    return samples + _v73_files({"r.mat": content})


def _read_rig_files(files: Files, folder: Path) -> None:
    read_responses(_written(files, folder) / next(iter(files))).in_order_of(("a", "b", "c"), "r")


_ASKED = Request("e", 1, 0, {"a": b"x"}, ("a", "a"))


def _read_answer(files: Files, _: Path) -> None:
    sockets.responses_of(files["line"], _ASKED, "rig")


def _rig_requests() -> list[Files]:
    with tempfile.TemporaryDirectory() as folder:
        write_request(Path(folder), _ASKED)
        made = Path(folder) / _ASKED.label
        return [{path.name: path.read_bytes() for path in sorted(made.iterdir())}]


def _sweep_cells() -> list[dict[str, Any]]:
    (files,) = _sweep_files()
    with tempfile.TemporaryDirectory() as folder:
        sweep = read_sweep(_written(files, Path(folder)) / "sweep.toml")
        cell = sweep.cells(Path(folder) / "cells")[0]
        cell.folder.mkdir(parents=True)
        cell.write()
        cell.note_job("12")
        made = {path.name: json.loads(path.read_bytes()) for path in cell.folder.glob("*.json")}
    return [made, {**made, "failed.json": {"reason": "no reason"}}]


def _read_sweep_cell(contents: Mapping[str, Any], folder: Path) -> None:
    cell: SweepCell = read_cell(_written(_as_json(contents), folder))
    cell.failure()
    cell.job()


def _read_settings_note(contents: Mapping[str, Any], folder: Path) -> None:
    claim_folder(_written(_as_json(contents), folder), {"seed": 1, "layers": ["a"]}, resume=True)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"x\"\r\nConnection: close\r\n\r\nabc"
_ANSWERS = (
    _HEAD,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 9999\r\nContent-Length: 0\r\n\r\n",
)


class _Wire:
    """A socket on which a server's answer has arrived already."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._answer))

    def detach(self) -> int:
        """Return what a socket returns that holds no descriptor."""
        return -1

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def _read_answer_of_server(files: Files, folder: Path) -> None:
    wire = mock.patch("socket.create_connection", return_value=_Wire(files["answer"]))
    with wire, mock.patch("socket.getaddrinfo", return_value=[]):
        download("http://127.0.0.1:1/x", folder / "x", expected_size=3, attempts=1)


TARGETS = {
    target.name: target
    for target in (
        Target("pickles", _pickles, lambda f, at: load_pickle(_written(f, at) / "x.pkl")),
        Target("tables", _table_files, _read_table),
        Target("recordings", _matlab_recordings, lambda f, at: _read_recordings(_written(f, at))),
        Target("recorded values", lambda: [_experiment()], _read_matlab_values, True),
        Target(
            "pickled recordings",
            lambda: [[None, _as_lists(_experiment())], [_experiment()]],
            _read_pickled_values,
            True,
        ),
        Target("tuning values", lambda: [_tuning_session()], _read_tuning_values, True),
        Target("tuning files", _matlab_tuning, _read_tuning_files),
        Target("session lists", _session_lists, lambda f, at: read_session_list(_written(f, at))),
        Target(
            "stimulus names",
            lambda: [{"names": b"class_eig0_lin0.16\nnoise_eig12_exp2.5_lin-1.0\nface_03"}],
            _read_stimulus_names,
        ),
        Target(
            "session names",
            lambda: [{"names": b"Alfa-25112020-003\n201125_Alfa_generate_BigGAN(1)"}],
            _read_session_names,
        ),
        Target("latent codes", _code_files, lambda f, at: read_latent_codes(_written(f, at), 0)),
        Target("merged codes", _merged_code_files, _read_merged),
        Target("json", lambda: [_as_json(one) for one in _JSON_FILES], _read_json_files),
        Target(
            "json values", lambda: list(_JSON_FILES),
            lambda value, at: _read_json_files(_as_json(value), at), True,
        ),
        Target("archives", _archives, _read_archive),
        Target("arrays", _array_files, _read_array_file),
        Target("pictures", _pictures, lambda f, at: read_montage(_written(f, at) / "x.jpg")),
        Target("weights", _weights, _read_weights),
        Target("sweep files", _sweep_files, _read_sweep_file),
        Target("sweep cells", _sweep_cells, _read_sweep_cell, True),
        Target("settings", lambda: [{NOTE_FILE: {"seed": 1, "layers": ["a"]}}],
               _read_settings_note, True),
        Target("Hessians", _hessians, lambda f, at: read_hessian(_written(f, at) / "h.npz", 3)),
        Target("runs", _run_archives, lambda f, at: read_archive(_written(f, at) / "scores.npz")),
        Target("optimiser files", _optimizer_states, _read_optimizer_file),
        Target("optimiser values", _optimizer_values, _read_optimizer_values, True),
        Target("rig tables", _rig_tables, _read_rig_files),
        Target("rig arrays", _rig_arrays, _read_rig_files),
        Target("rig requests", _rig_requests, lambda f, at: read_request(_written(f, at))),
        Target(
            "rig answers",
            lambda: [{"line": b'{"block": 1, "attempt": 0, "stimulusID": ["a", "a"], '
                      b'"tEvokedResp": [[1.5], [null]], "psth": [[1, 2], [3, 4]]}\n'}],
            _read_answer,
        ),
        Target("servers", lambda: [{"answer": answer} for answer in _ANSWERS],
               _read_answer_of_server),
    )
}  # fmt: skip
