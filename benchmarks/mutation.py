"""Put small errors into the code, one by one, and see which of them the tests notice.

``python -m benchmarks.mutation`` takes the modules between recordings and figures, changes one
comparison, operator, number, axis, order of arguments or space at a time, and runs the tests that
are responsible for the module until the first of them fails. It prints the shares that were
noticed, and every change that was not. Nothing on disk is touched: a process of its own imports the
changed module.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.mutation"))

import argparse
import ast
import copy
import gc
import io
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]

#: Tests of what recordings become: fast ones first, then every table against plain loops.
_TABLE_TESTS = (
    "tests/tables/test_evolution_stats.py",
    "tests/tables/test_response_differences.py",
    "tests/tables/test_tables_by_loop.py",
    "tests/tables/test_edges.py",
)

#: The statistics of the figures, number by number.
_GOLDEN = "tests/figures/test_golden.py::test_figures_tell_their_golden_numbers"

#: What the figures compute, on small inputs.
_VALUES = "tests/figures/test_figure_values.py"

_RECORDED_ONLY = tuple(
    f"tests/figures/test_robustness_claims.py::test_{name}"
    for name in (
        "tests_without_padding_count_the_experiments_that_recorded_a_block",
        "a_block_that_one_experiment_recorded_has_no_test",
        "recorded_only_is_the_test_of_the_recorded_blocks_corrected_over_all_windows",
        "dots_of_blocks_that_few_recorded_are_hollow",
    )
)

#: Slow ones that no change of these modules fails alone.
_LEFT_OUT = (
    "tests/tables/test_evolution_stats.py::test_the_number_of_workers_changes_nothing",
    "tests/figures/test_figure_ext5.py::test_only_panels_of_untrained_networks_are_marked",
    "tests/figures/test_figure_ext5.py::test_the_notebook_exports_the_same_files_as_the_command",
    "tests/figures/test_figure_ext5.py::test_no_torch_is_needed_for_figure_and_export",
    "tests/figures/test_figure6.py::test_the_export_is_the_same_again_and_in_two_processes",
    "tests/figures/test_figure6.py::test_the_script_draws_every_panel",
    "tests/figures/test_figure3.py::test_packaged_similarities_are_what_the_untrained_resnet50_finds",
    "tests/figures/test_figure3.py::test_the_export_writes_both_tables_with_the_same_rows",
)


@dataclass(frozen=True)
class Target:
    """A module to change, the tests that answer for it, and the figures they need."""

    module: str
    tests: tuple[str, ...]
    figures: tuple[str, ...] = ()


def _of_figure(figure: str, *tests: str) -> Target:
    name = f"figure_reproduction.{figure}_reproduction"
    return Target(name, (_GOLDEN, _VALUES, *tests), (figure,))


_EVOLUTION, _PAGE = "neuro_data_analysis.evolution", "figure_reproduction.page"

TARGETS = (
    Target(f"{_EVOLUTION}.stats", _TABLE_TESTS),
    Target(f"{_EVOLUTION}.population", _TABLE_TESTS),
    Target(f"{_EVOLUTION}.tables", ("tests/tables/test_courses.py", *_TABLE_TESTS)),
    Target("neuro_data_analysis.similarity.response_differences", _TABLE_TESTS[1:]),
    Target(
        "neuro_data_analysis.neural_data_utils",
        ("tests/recordings/test_session_names.py", *_TABLE_TESTS),
    ),
    Target(
        f"{_PAGE}.groups",
        ("tests/figures/test_groups.py", _GOLDEN),
        ("Figure4", "Figure5", "FigureExt4"),
    ),
    Target(
        f"{_PAGE}.window_responses",
        (*_RECORDED_ONLY, _VALUES, _GOLDEN),
        ("Figure5", "FigureExt4"),
    ),
    _of_figure("Figure2", "tests/tables/test_tables_by_hand.py"),
    _of_figure(
        "Figure3",
        "tests/tables/test_edges.py::test_figure_3_selects_experiments_below_the_level_only",
        "tests/figures/test_figure3.py",
    ),
    _of_figure(
        "Figure4", "tests/tables/test_edges.py::test_figure_4d_counts_threads_below_the_level_only"
    ),
    _of_figure("Figure5"),
    _of_figure("FigureExt4"),
    _of_figure("Figure6", "tests/figures/test_figure6.py"),
    _of_figure("FigureExt5", "tests/figures/test_figure_ext5.py"),
)

#: Changes that no test can notice, for the same result comes out: line and change → why.
EQUIVALENT: dict[tuple[str, str], str] = {
    (
        '& meta["space2"].str.contains(Space.BIGGAN.generator, regex=False),',
        "False → True",
    ): "the name holds no special letter",
    ("best = n - 3 if best >= n - 2 else best", "2 → 3"): "block n - 3 stays where it is",
    **{
        (line, "Space.DEEPSIM → Space.BIGGAN"): "both threads have as many blocks"
        for line in (
            "return len(self.trajectory.mean[Space.DEEPSIM])",
            "n_blocks = len(trials[Space.DEEPSIM].block_sizes)",
            "if len(trials[Space.DEEPSIM].block_sizes) == 0:",
        )
    },
    **{
        (line, "1 → 2"): "only the sign counts"
        for line in (
            '"maxinit": ("maxinit", +1),',
            '"endinit": ("endinit", +1),',
            '"endinitdecrs": ("endinit", -1),',
        )
    },
    ("return self.window_means([window])[0]", "0 → -1"): "there is one",
    ("name, site = sessions.iloc[0]", "0 → -1"): "there is one",
    (
        "return np.isfinite(self.recorded[Space.DEEPSIM]).sum(axis=0)",
        "Space.DEEPSIM → Space.BIGGAN",
    ): "both spaces recorded the same blocks",
    (
        'smooth = np.stack([np.convolve(psth, boxcar, mode="valid") for psth in evoked])',
        "np.convolve(psth, boxcar, mode='valid') → np.convolve(boxcar, psth, mode='valid')",
    ): "a convolution is commutative",
    (
        'f"psth_corr{suffix}": float(np.corrcoef(first, second)[0, 1]) if varies else np.nan,',
        "np.corrcoef(first, second) → np.corrcoef(second, first)",
    ): "a correlation is symmetric",
    (
        "means = np.concatenate([curve.mean for curve in curves.values() if curve.n] "
        "or [np.ones(1)])",
        "1 → 2",
    ): "one and two ones have the same maximum",
    (
        "padded = np.asarray(_same(values, values[..., -1:]).all(axis=0))",
        "_same(values, values[..., -1:]) → _same(values[..., -1:], values)",
    ): "symmetric",
    (
        "padded[:, 2:] &= (padded[:, 1:-1] | _same(values[..., 2:], before).all(axis=0))",
        "_same(values[..., 2:], before) → _same(before, values[..., 2:])",
    ): "symmetric",
    **{
        (
            "for space, n in computed[ATTRIBUTION_BINS_MS[0], area].n_climbed.items():",
            change,
        ): "the same threads climbed whatever the width of the bins"
        for change in ("0 → 1", "0 → -1")
    },
    (
        "return len(self.curves[Space.DEEPSIM])",
        "Space.DEEPSIM → Space.BIGGAN",
    ): "both spaces have as many blocks",
    (
        "return len(self.curves[Space.DEEPSIM][0].mean)",
        "Space.DEEPSIM → Space.BIGGAN",
    ): "all PSTHs have as many ms",
    (
        "return len(self.curves[Space.DEEPSIM][0].mean)",
        "0 → -1",
    ): "all PSTHs have as many ms",
    (
        'yield Statistic("n", computed[0, area, Space.DEEPSIM].curve.n, area=area)',
        "Space.DEEPSIM → Space.BIGGAN",
    ): "both spaces have the same experiments",
    (
        "return self.curves[Space.DEEPSIM].n",
        "Space.DEEPSIM → Space.BIGGAN",
    ): "both spaces have the same experiments",
    (
        "ends = np.mean([list(each.expected.values()) for each in found], axis=0)",
        "np.mean → np.median",
    ): "mean and median of two are the same",
    (
        'return [_ends_of_correlations(centred["depth"], centred[name]) for name in metrics]',
        "_ends_of_correlations(centred['depth'], centred[name]) → "
        "_ends_of_correlations(centred[name], centred['depth'])",
    ): "a correlation is symmetric",
    (
        "return boxplot_stats(values.to_numpy(), labels=[layer])[0]",
        "0 → -1",
    ): "there is one box",
    (
        "zip(example.mean[space], example.sem[space], strict=True)",
        "True → False",
    ): "grids of unequal length are refused as they are read",
    (
        "shown = {b: pad_blocks(psths, b + 1)[b].copy() for b in FIGURE_5A_BLOCKS}",
        "1 → 2",
    ): "a block is the same however many follow it",
    (
        "if len(rows) < 2 or any(np.ptp(column) == 0 for column in values):",
        "2 → 1",
    ): "one row does not vary",
    (
        "return np.array([spearmanr(values[0], column).statistic for column in values[1:]])",
        "spearmanr(values[0], column) → spearmanr(column, values[0])",
    ): "a correlation is symmetric",
    (
        "by_expi = dict(zip(recordings, outcomes, strict=True))",
        "True → False",
    ): "there is one outcome for each experiment",
}

#: What pytest needs not do where nobody reads why a test failed.
_WITHOUT_REPORTS = (
    "--assert=plain", "--tb=no", "-p", "no:cacheprovider", "-p", "no:unraisableexception",
    "-p", "no:threadexception", "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip

#: Seconds of processor time after which a change counts as noticed: something runs for ever.
_CPU_SECONDS = 90

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NAMES = {
    "min": "max", "max": "min", "argmax": "argmin", "any": "all", "all": "any", "mean": "median",
    "DEEPSIM": "BIGGAN", "BIGGAN": "DEEPSIM", "sem": "mean", "std": "var",
    "isfinite": "isnan", "ceil": "floor", "first": "second",
}  # fmt: skip
_TEXTS = {"FC": "BG", "BG": "FC", "DeePSim": "BigGAN", "BigGAN": "DeePSim", "001": "005",
          "anysucc005": "bothsucc005", "bothsucc005": "anysucc005", "bothsucc": "anysucc",
          "maxinit": "endinit", "V1": "V4", "init": "end", "mean": "sem", "sem": "mean",
          "valid": "stable"}  # fmt: skip

#: A function that mentions one of these draws; pictures have tests of their own.
_DRAWING = frozenset(
    {"axes", "canvas", "Axes", "FigureBase", "plt", "Drawing", "_heat_drawing", "plot_mm"}
)


#: Functions to which the order of two arguments means nothing, or only that of texts.
_UNORDERED = frozenset({"min", "max", "minimum", "maximum", "Statistic"})


@dataclass(frozen=True)
class Mutant:
    """One change: the module with it, its line number, the line before and after."""

    tree: ast.Module
    line: int
    before: str
    after: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every single change of a module, in the order of its lines."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    lines = source.splitlines()
    for number in _mutable(tree, nodes):
        for field, value in _changes(nodes[number]):
            copied = copy.deepcopy(tree)
            node = list(ast.walk(copied))[number]
            before = ast.unparse(node)
            setattr(node, field, value)
            if ast.unparse(node) == before:
                continue
            line = getattr(node, "lineno", 0)
            yield Mutant(copied, line, lines[line - 1].strip(), f"{before} → {ast.unparse(node)}")


def _mutable(tree: ast.Module, nodes: Sequence[ast.AST]) -> list[int]:
    """Return the numbers of the nodes that compute: no texts for people, no types, no drawing."""
    skipped: list[ast.AST] = [part for node in nodes for part in _not_computing(node)]
    drawing = [n for n in nodes if isinstance(n, ast.FunctionDef) and _names(n) & _DRAWING]
    computing = set().union(
        *(_names(n) for n in nodes if isinstance(n, ast.FunctionDef) and n not in drawing)
    )
    for statement in tree.body:  # constants that only drawings use, and what is run on import
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            skipped += [] if _assigned(statement) & computing else [statement]
        elif not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            skipped.append(statement)
    without = {id(part) for node in [*skipped, *drawing] for part in ast.walk(node)}
    return [number for number, node in enumerate(nodes) if id(node) not in without]


def _not_computing(node: ast.AST) -> Sequence[ast.AST]:
    """Return the parts of a node that hold no number of a table or figure."""
    if isinstance(node, ast.FunctionDef):
        return [*node.decorator_list, *([node.returns] if node.returns else [])]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list]
    if isinstance(node, ast.arg | ast.AnnAssign):
        return [node.annotation] if node.annotation else []
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return [node]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Statistic", "cast"):
        return node.args[:1]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return [node]
    return []


def _assigned(statement: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return set().union(*map(_names, targets))


def _names(node: ast.AST) -> set[str]:
    """Return the names that a piece of code mentions, arguments of functions too."""
    parts = list(ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name)} | {
        part.arg for part in parts if isinstance(part, ast.arg)
    }


def _changes(node: ast.AST) -> list[tuple[str, Any]]:
    """Return the changes that one node can suffer: which field, and its other value."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return [("ops", [other()]) for other in _COMPARISONS.get(type(node.ops[0]), ())]
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        return [("op", _OPERATORS[type(node.op)]())]
    if isinstance(node, ast.BoolOp):
        return [("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.Not):
        return [("operand", ast.UnaryOp(node.op, node.operand))]  # twice is not at all
    if isinstance(node, ast.Constant):
        return [("value", other) for other in _other_constants(node.value)]
    if isinstance(node, ast.Name) and node.id in _NAMES and isinstance(node.ctx, ast.Load):
        return [("id", _NAMES[node.id])]
    if isinstance(node, ast.Attribute) and node.attr in _NAMES:
        return [("attr", _NAMES[node.attr])]
    if isinstance(node, ast.Call) and len(node.args) == 2 and _called(node) not in _UNORDERED:
        return [("args", node.args[::-1])]
    return []


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _other_constants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.2]
    return [_TEXTS[value]] if isinstance(value, str) and value in _TEXTS else []


class _MutantFinder(MetaPathFinder, Loader):
    """Import one module from a changed tree, all others as ever."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self._module, self._path, self._tree = module, path, tree

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin=str(self._path)) if name == self._module else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._path)
        code = compile(ast.fix_missing_locations(self._tree), str(self._path), "exec")
        exec(code, module.__dict__)


def survives(target: Target, tree: ast.Module | None, cache: Path) -> bool:
    """Run the tests of a module with a change, in a process of its own; whether all pass."""
    process = os.fork()
    if process:
        _, status = os.waitpid(process, 0)
        return status == 0
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS + 5))
        with (
            (cache / "log").open("w") as log, redirect_stdout(log), redirect_stderr(log),
        ):  # fmt: skip
            code = _run_tests(target, tree, cache)
        if tree is None:
            loaded = [name for name, m in sys.modules.items() if getattr(m, "__file__", None)]
            (cache / "loaded").write_text("\n".join(loaded))
    finally:
        os._exit(code)


def _run_tests(target: Target, tree: ast.Module | None, cache: Path) -> int:
    import pytest

    if tree is not None:
        sys.meta_path.insert(0, _MutantFinder(target.module, _path(target.module), tree))
    try:
        _use(cache, target.figures)
    except Exception:  # the module cannot even be imported
        return 1
    left_out = [part for test in _LEFT_OUT for part in ("--deselect", test)]
    with tempfile.TemporaryDirectory() as folder:
        options = ["-x", "-q", "--basetemp", f"{folder}/pytest", *_WITHOUT_REPORTS]
        return int(pytest.main([*options, *left_out, *target.tests]))


def _use(cache: Path, figures: tuple[str, ...]) -> None:
    """Give the tests what an unchanged module made, and spare them the drawing."""
    golden = import_module("tests.golden")
    golden.__dict__["make_matroot"] = lambda folder: cache / "recordings"
    golden.__dict__["add_tuning"] = lambda source_data, folder: None
    if figures:
        golden.__dict__["FIGURES"] = figures
        golden.__dict__["make_source_data"] = partial(_linked, cache / "source_data")
        golden.__dict__["print_figures"] = partial(_without_pictures, golden.print_figures)


def _linked(made: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "source_data").symlink_to(made)
    return folder / "source_data"


def _without_pictures(print_figures: Callable[..., Any], *given: Any) -> Any:
    with mock.patch("figure_reproduction.page.page._print", return_value=[]):
        return print_figures(*given)


def _load_before(module: str, loaded: Sequence[str]) -> None:
    """Load all that the tests need and that does not need the module, before it is changed."""
    own = {name: _path(name) for name in loaded if _path(name).is_file()}
    needs = {name: _imports(path, own) for name, path in own.items()}
    changed = {module}
    while more := {name for name, needed in needs.items() if needed & changed} - changed:
        changed |= more
    for name in loaded:
        if not name.startswith("tests.test_") and name not in changed | {"tests.conftest"}:
            with suppress(ImportError):
                import_module(name)
    if module in sys.modules:
        raise SystemExit(f"{module} was loaded before it could be changed; see _load_before.")


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path, known: Collection[str]) -> set[str]:
    """Return the modules that a file imports, wherever in it, their packages and its own too."""
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and node.value in known:
            found.add(str(node.value))
    parts = [name.split(".") for name in found]
    return {".".join(one[:n]) for one in parts for n in range(1, len(one) + 1)}


def make_cache(cache: Path) -> None:
    """Make recordings and tables once, in a process of its own, by the code as it is."""
    process = os.fork()
    if process:
        if os.waitpid(process, 0)[1]:
            raise SystemExit("the recordings for the tests could not be made")
        return
    code = 1
    try:
        golden = import_module("tests.golden")
        with redirect_stdout(io.StringIO()):
            golden.add_tuning(golden.make_source_data(cache), cache)
        code = 0
    finally:
        os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 where at least 95 % of the changes are noticed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation",
        description="Put small errors into the code and see whether the tests notice them.",
        epilog="example: python -m benchmarks.mutation --module groups --sample 0",
    )
    parser.add_argument("--module", action="append", help="part of a name; may be repeated")
    parser.add_argument(
        "--line", type=int, action="append", help="only changes of this line; may be repeated"
    )
    parser.add_argument(
        "--sample", type=int, default=25, help="changes per module, 0 for all (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for what the tests need, used again")
    given = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ["MPLBACKEND"] = "Agg"
    _import_libraries()
    with tempfile.TemporaryDirectory() as folder:
        cache = (given.keep or Path(folder)).resolve()
        if not (cache / "source_data/ExtendedFig5").is_dir():
            make_cache(cache)
        counts = [
            _apart(partial(_examine, target, given.sample, given.seed, given.line, cache))
            for target in TARGETS
            if not given.module or any(part in target.module for part in given.module)
        ]
    noticed, made = (sum(count) for count in zip(*counts, strict=True))
    print(f"{noticed} of {made} changes noticed ({noticed / made:.1%})")
    return 0 if noticed >= 0.95 * made else 1


def _apart(examine: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Return what a function finds in a process of its own, whose imports end with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(examine).result()


def _examine(
    target: Target, sample: int, seed: int, lines: Sequence[int] | None, cache: Path
) -> tuple[int, int]:
    """Try the changes of one module; return how many were noticed, and how many there were."""
    source = _path(target.module).read_text(encoding="utf-8")
    mutants = [m for m in mutants_of(source) if (m.before, m.after) not in EQUIVALENT]
    mutants = [m for m in mutants if not lines or m.line in lines]
    if sample and len(mutants) > sample:
        mutants = random.Random(seed).sample(mutants, sample)
    start = time.monotonic()
    _ask_for_success(target, None, cache)
    _load_before(target.module, (cache / "loaded").read_text().splitlines())
    gc.freeze()
    _ask_for_success(target, ast.parse(source), cache)  # as changed modules are run
    n_survivors = 0
    for mutant in mutants:
        if survives(target, mutant.tree, cache):
            n_survivors += 1
            print(f"    line {mutant.line}: {mutant.after}    in: {mutant.before}", flush=True)
    noticed = len(mutants) - n_survivors
    seconds = time.monotonic() - start
    found = f"{noticed:4} of {len(mutants):4} noticed"
    print(f"{target.module:55} {found} {seconds:8.0f} s", flush=True)
    return noticed, len(mutants)


def _ask_for_success(target: Target, tree: ast.Module | None, cache: Path) -> None:
    if not survives(target, tree, cache):
        raise SystemExit(f"the tests of {target.module} fail without any change; see them first:\n"
                         + (cache / "log").read_text()[-3000:])  # fmt: skip


def _import_libraries() -> None:
    """Load what no change concerns once, before processes are split off."""
    for name in ("matplotlib.pyplot", "pytest", "seaborn", "sklearn.gaussian_process",
                 "statsmodels.stats.multitest"):  # fmt: skip
        import_module(name)
