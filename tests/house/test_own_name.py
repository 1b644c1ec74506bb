"""The project under a name of its own, in a checkout and as a wheel would install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(bare):
    """Run a line, or a module, in a folder, with another folder on the path of imports."""
    return lambda code, where, path, module="": bare.run(
        code, where=where, path=[path], module=module
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build what a wheel holds, without installing it."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("built")
    egg = ["egg_info", "--egg-base", str(folder)]
    build = ["build_py", "--build-lib", str(folder / "lib")]
    call = [sys.executable, "setup.py", "-q", *egg, *build]
    done = subprocess.run(call, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "lib"


@pytest.fixture
def theirs(tmp_path):
    """Make a repository with packages of its own that are called as the paper's."""
    for name in ("core", "source_data_export"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    return tmp_path


SAME = (
    "import sys, core.utils.stats_utils as a, neuron_gan.core.utils.stats_utils as b; "
    "import neuron_gan, core; from neuron_gan.core.errors import UsageError as e; "
    "from core.errors import UsageError as f; "
    "assert a is b and e is f and neuron_gan.core is core, 'two copies'; "
    "assert a.__spec__.name == a.__name__ and core.utils.stats_utils is a; "
    "assert neuron_gan.summary_by_block is a.summary_by_block; "
    "assert 'evolve' in dir(neuron_gan) and not hasattr(neuron_gan, '_no'); "
    "from neuron_gan.neuro_data_analysis.neural_data_utils import parse_meta; "
    "assert 'torch' not in sys.modules; print(a.__name__)"
)


@pytest.mark.parametrize("where", ["checkout", "wheel"])
def test_both_names_mean_the_same_modules(run, where, built, tmp_path):
    done = run(SAME, tmp_path, ROOT if where == "checkout" else built)
    name = "core.utils.stats_utils"
    assert done.stdout.strip() == (name if where == "checkout" else f"neuron_gan.{name}"), (
        done.stderr
    )


def test_a_folder_with_a_core_of_its_own_breaks_nothing(run, built, theirs):
    """There the plain names are theirs, and the own name is whole."""
    code = (
        "import core; assert core.MINE; "
        "from neuron_gan.core.source_data import SourceData; "
        "from neuron_gan.neuro_data_analysis.neural_data_lib import load_neural_data, parse_meta; "
        "from neuron_gan.figure_reproduction import Figure4_reproduction; "
        "from neuron_gan import summary_by_block; "
        "import sys; assert not any(m.startswith(('core.', 'figure_')) for m in sys.modules); "
        "assert not any(p.endswith('neuron_gan') for p in sys.path)"
    )
    done = run(code, theirs, built)
    assert done.returncode == 0, done.stderr
    moved = run(
        "from neuron_gan.neuro_data_analysis.neural_data_lib import get_meta_df", theirs, built
    )
    assert "is here evolution.population.collect" in moved.stderr


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("neuron_gan.core.source_data --help", 0, "python -m neuron_gan.core.source_data"),
        ("neuron_gan source-data --help", 0, "usage:"),
        ("neuron_gan", 0, "paired-evolution"),
        ("neuron_gan figure", 2, "unknown command 'figure'"),
    ],
)
def test_commands_run_beside_a_core_of_ones_own(run, module, code, words, built, theirs):
    done = run("", theirs, built, module=module)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr


def test_plain_commands_run_from_a_wheel_and_own_ones_from_a_checkout(run, built, tmp_path):
    for path, module in ((built, "core.source_data"), (ROOT, "neuron_gan.core.source_data")):
        done = run("", tmp_path, path, module=f"{module} --help")
        assert done.returncode == 0, done.stderr
        assert "check" in done.stdout


def test_only_names_of_packages_are_rewritten(run):
    before = {"source": "from core.a import b\nfrom core import start\nimport core.x\n"
              "run(\"core.insilico.sweeps\")  # hardcore.core.fun other/core.py core\n"}
    code = (
        "import setuptools; setuptools.setup = lambda **_: None; import setup; "
        f"print(setup.under_one_name({before['source']!r}), end='')"
    )
    done = run(code, ROOT, ROOT)
    assert done.stdout == (
        "from neuron_gan.core.a import b\nfrom neuron_gan.core import start\n"
        "import neuron_gan.core.x\n"
        "run(\"neuron_gan.core.insilico.sweeps\")  # hardcore.core.fun other/core.py core\n"
    ), done.stderr
