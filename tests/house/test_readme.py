"""The README tells the truth: its Python runs, its files and commands exist."""

from __future__ import annotations

import contextlib
import json
import re
import runpy
import subprocess
import sys
import tomllib
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from tests.forks import forked

ROOT = Path(__file__).resolve().parents[2]
TESTS = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEVIATIONS = (ROOT / "DEVIATIONS.md").read_text(encoding="utf-8")


def _python_block(containing):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    (block,) = [block for block in blocks if containing in block]
    return block


def test_the_evolution_of_the_readme_climbs(tmp_path, monkeypatch, capsys):
    """Three of twenty generations for a unit of an untrained ResNet; the last is above the first.

    A reader sees the scores, and finds a picture of six images.
    """
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(_python_block("upconvGAN").replace("range(20)", "range(3)"), names)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"generation {i}" for i in range(3)]
    with Image.open("evolved.png") as picture:
        assert picture.width > picture.height > 256
    assert names["codes"].shape == (6, 4096)
    first = names["scorer"].score_tsr(
        names["generator"].visualize(names["optimizer"].init_code[None])
    )
    assert names["scores"].mean() > first[0]
    assert not names["generator"].trained


def test_the_recordings_of_the_readme_are_read(small_matroot, capsys):
    exec(_python_block("load_neural_data").replace('"MATROOT"', repr(str(small_matroot))), {})
    assert "Exp 155 Alfa-25112020-003" in capsys.readouterr().out


MODULES = sorted(set(re.findall(r"python -m ([a-zA-Z_.0-9]+)", README + DEVIATIONS)))
PROGRAMS = [f"-m {module}" for module in MODULES] + [
    f"figure_reproduction/{script}" for script in re.findall(r"`(Figure\w+\.py)`", README)
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_python_without_the_packages_is_told_so_in_one_sentence(program):
    """Also when help was asked for; -S hides all installed packages from it."""
    done = subprocess.run(
        [sys.executable, "-S", *program.split(), "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(r"error: \w+ is not installed for .*`make (base|environment)`.*\n",
                        done.stderr), done.stderr  # fmt: skip


#: What a fork need not import again, though this process may not have needed it yet.
LARGE = "numpy,scipy.stats,pandas,matplotlib.pyplot,seaborn,sklearn,h5py,torch,torchvision"

OURS = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export", "examples")


def _say_helps(modules, folder):
    """Run commands one after another in a fork that has forgotten what is ours."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    codes = {module: _say_help(module, folder / module) for module in modules}
    (folder / "codes.json").write_text(json.dumps(codes))


def _say_help(module, path):
    if not hasattr(sys.modules.get(module), "__path__"):  # else its __main__ runs
        sys.modules.pop(module, None)
    sys.argv = [module, "--help"]
    with (
        path.open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return end.code or 0
        except Exception:
            traceback.print_exc()
            return 1
    return 0


@pytest.fixture(scope="session")
def helps(once):
    """Ask every command for help: module → exit code, and what it says."""
    asked = [module for module in MODULES if not module.startswith("benchmarks")]

    def ask(folder):
        folder.mkdir()
        for package in LARGE.split(","):
            import_module(package)
        assert forked(_say_helps, asked, folder) == 0

    folder = once("helps", ask)
    codes = json.loads((folder / "codes.json").read_text())
    return {module: (code, (folder / module).read_text()) for module, code in codes.items()}


@pytest.mark.parametrize("module", MODULES)
def test_every_command_of_the_readme_has_help(module, helps):
    if module.startswith("benchmarks"):
        assert find_spec(module) is not None
        return
    code, said = helps[module]
    assert code == 0, said
    assert "example:" in said


def test_every_link_and_script_of_the_readme_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    scripts = re.findall(r"`(Figure\w+_reproduction\.py)`", README)
    assert scripts
    for path in [*links, *(f"figure_reproduction/{script}" for script in scripts)]:
        assert (ROOT / path).exists(), path


def test_every_deviation_names_tests_that_exist():
    """Each test file is there, and holds a test whose name begins as the table says."""
    for line in DEVIATIONS.splitlines():
        files = re.findall(r"`(test_\w+)`", line.rsplit("|", 2)[-2] if line.startswith("|") else "")
        for file in files:
            assert file in TESTS, line
        for name in re.findall(r"`([a-z_0-9]+)…`", line):
            sources = "".join(TESTS[file].read_text() for file in files)
            assert f"def test_{name}" in sources or name in sources, line


def test_requirements_are_those_of_the_project():
    """requirements.txt is the base and all extras but the examples' trained networks, pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        items for name, items in project["optional-dependencies"].items() if name != "trained"
    ]
    declared = {*project["dependencies"], *(item for extra in extras for item in extra)}
    required = {
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] not in "#"
    }
    assert required - {""} == declared
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    normal = {re.sub("[-_.]+", "-", name).lower() for name in pinned}
    for requirement in declared:
        name = re.sub("[-_.]+", "-", re.split("[>=<]", requirement)[0]).lower()
        assert name in normal, requirement


def test_the_networks_of_the_readme_are_scored():
    """A torchvision network, one of timm, and one of one's own with a single channel."""
    import torch

    names = {}
    exec(_python_block("mobilenet_v3_small"), names)
    assert names["small"].score(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    assert names["vit"].score(torch.rand(1, 3, 64, 64)).shape == (1,)
    assert names["own"].score(torch.rand(3, 1, 28, 28)).shape == (3,)
    assert "3 × 224 × 224, mean ± SD 0.5 ± 0.5" in repr(names["vit"])


def test_the_one_call_of_the_readme_evolves():
    names = {}
    exec(_python_block("evolve, objectives"), names)
    assert names["result"].untrained
    assert names["climbed"].scores[-1].mean() > names["climbed"].scores[0].mean()
