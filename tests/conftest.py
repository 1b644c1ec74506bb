"""What every test shares: no window, no network, a seeded generator."""

from __future__ import annotations

import gc
import os
import socket

import matplotlib as mpl
import numpy as np
import pytest

from core.files import locked, staging_folder

mpl.use("Agg")

# Nearly all that is made lives long; looking for cycles as often as usual is a tenth of a run.
gc.set_threshold(50_000, 10, 10)

# Tests in several processes share the processors; torch and joblib learn it from here.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for limit in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ.setdefault(limit, str(max(1, share)))

# What is made twice in a test is made at the same time, as in a reproducible build.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1767225600")


def pytest_collection_modifyitems(items):
    """Begin with what shares the figures in memory: one process makes them, and not each."""
    items.sort(key=lambda item: "golden_figures" not in item.fixturenames)


def _leave_to_the_end():
    """Leave what there is by now, and stays, out of every later search for cycles."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish():
    """Everything is imported."""
    _leave_to_the_end()


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator that starts alike in every test."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make a folder once for all processes of a run; tests only read it."""

    def folder(name, make):
        base = tmp_path_factory.getbasetemp()
        made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
        with locked(made):
            if not made.is_dir():
                with staging_folder(made) as staging:
                    make(staging / name)
                    (staging / name).rename(made)
        return made

    return folder


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """Run what must not know our modules yet; see `tests.forks.Bare`."""
    from tests.forks import Bare

    process = Bare(tmp_path_factory.mktemp("bare"))
    yield process
    process.end()


@pytest.fixture(scope="session")
def small_matroot(once):
    """Simulate a small MATROOT once: 12 experiments that cover every kind of the real list."""
    from neuro_data_analysis.simulation.matroot import simulate_matroot

    return once("matroot", lambda folder: simulate_matroot(folder, n_experiments=12))


@pytest.fixture(scope="session")
def small_source_data(small_matroot, once):
    """Export the small MATROOT once: the figures that need evolutions only."""
    from source_data_export.exports import run

    def export(folder):
        report = run(small_matroot, folder, ["Fig2", "Fig4", "Fig5", "ExtendedFig4", "Tables"])
        assert report.left_out == {}

    return once("small_source_data", export)


@pytest.fixture(scope="session")
def small_figures(small_source_data, once):
    """Print Figure 2 of them once in every format, and its page; then Figure 4 as PDF."""
    from figure_reproduction.page.report import write_report
    from tests.figures.test_determinism import FIGURE, print_figures

    def make(folder):
        print_figures(small_source_data, folder, FIGURE)
        write_report(folder)
        print_figures(small_source_data, folder, "Figure4", formats=("pdf",))

    return once("small_figures", make)


@pytest.fixture(scope="session")
def golden_source_data(once):
    """Export the hand-made recordings once, and four tuning sessions: all figures."""
    from tests import golden

    def export(folder):
        golden.make_source_data(folder)
        golden.add_tuning(folder / "source_data", folder)

    return once("golden", export) / "source_data"


@pytest.fixture(scope="session")
def golden_figures(golden_source_data, tmp_path_factory):
    """Make every figure of them once, and of four tuning sessions: statistics and pictures."""
    from tests import golden

    printed = golden.print_figures(golden_source_data, tmp_path_factory.mktemp("figures"))
    _leave_to_the_end()
    return printed


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def _no_network(request, monkeypatch):
    """Refuse every connection but to this machine, unless a test is marked ``network``."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"this test tried to reach {address}; mark it 'network'")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
