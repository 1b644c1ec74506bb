"""The rooms of the house: which may know which, how full they are, and the doors of users."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: From the ground up; a package imports itself and what stands before it.
STOREYS = ("core", "neuro_data_analysis", "source_data_export", "figure_reproduction")

#: Python files that may lie directly in one folder.
MOST_FILES = 16

MODULES = sorted(
    path.relative_to(ROOT)
    for package in STOREYS
    for path in (ROOT / package).rglob("*.py")
)


def dotted(path: Path) -> str:
    """Turn core/utils/device.py into core.utils.device, and a folder's __init__ into the folder."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Every module of the house that a file names in an import, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.partition(".")[0] in STOREYS}


def test_no_room_knows_what_stands_above_it():
    upward = [
        f"{path} imports {name}"
        for path in MODULES
        for name in imports_of(path)
        if STOREYS.index(name.partition(".")[0]) > STOREYS.index(path.parts[0])
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle():
    """Depth-first search over all imports, lazy ones included."""
    names = {dotted(path): path for path in MODULES}
    after = {name: imports_of(path) & names.keys() - {name} for name, path in names.items()}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in sorted(after[name]):
                walk(other, (*above, name))
            done.add(name)

    for name in sorted(names):
        walk(name, ())


def test_no_folder_is_a_long_flat_list():
    rooms = (ROOT / name for name in (*STOREYS, "benchmarks", "tests"))
    folders = {path.parent for room in rooms for path in room.rglob("*.py")}
    counts = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}


def test_every_room_says_what_belongs_there_and_what_does_not():
    """More than a title: the first line of a room's ``__init__``, and a paragraph."""
    for path in MODULES:
        if path.name == "__init__.py":
            told = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
            assert len(told.partition("\n\n")[2].split()) > 10, path


@pytest.mark.parametrize(
    ("door", "names"),
    [
        ("core.utils.GAN_utils", "upconvGAN Caffenet multiZupconvGAN loadBigGAN BigGAN_wrapper"),
        ("core.utils.CNN_scorers", "TorchScorer load_featnet resize_and_pad resize_and_pad_tsr"),
        ("core.utils.Optimizers", "CholeskyCMAES HessCMAES ZOHA_Sphere_lr_euclid rankweight"),
        ("core.utils.layer_hook_utils", "get_module_names featureFetcher featureFetcher_module"),
        ("core.utils.grad_RF_estim", "grad_RF_estimate gradmap2RF_square fit_2dgauss"),
        ("core.utils.plot_utils", "to_imgrid save_imgrid show_imgrid saveallforms"),
        ("core.utils.montage_utils", "make_grid_np crop_from_montage color_framed_montages"),
        ("core.utils.stats_utils", "summary_by_block ttest_ind_print_df paired_strip_plot"),
        ("core.utils.geometry_utils", "SLERP ExpMap VecTransport ang_dist"),
        ("core.source_data", "SourceData write_table write_tables check_folder DEFAULT_FOLDER"),
        ("neuro_data_analysis.neural_data_lib", "load_neural_data Recordings"),
        ("neuro_data_analysis.neural_data_utils", "AREAS"),
        ("neuro_data_analysis.neural_tuning_analysis_lib", "load_site TunedSite"),
        ("neuro_data_analysis.image_comparison_lib", "load_network load_lpips cosine_matrix"),
        ("neuro_data_analysis.simulate_recordings", "main"),
    ],
)
def test_published_names_stay_at_their_doors(door, names):
    module = import_module(door)
    assert [name for name in names.split() if not hasattr(module, name)] == []


def test_figures_import_no_torch(bare):
    code = (
        "import sys, importlib; "
        "[importlib.import_module(f'figure_reproduction.Figure{n}_reproduction') "
        "for n in (2, 3, 4, 5, 6, 'Ext4', 'Ext5')]; "
        "import figure_reproduction.__main__, source_data_export.__main__; "
        "sys.exit(bool({'torch', 'torchvision'} & set(sys.modules)))"
    )
    assert bare.run(code).returncode == 0
