"""After evolutions: one table of all runs, DeePSim against BigGAN, layer against layer.

``python -m core.insilico.evolution_analysis ROOT [--output table.csv]`` reads every run below a
folder, ours or a published one, and prints how the two generators compare.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("core.insilico.evolution_analysis"))

import argparse
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.command_line import a_path, command_parser, require_writable
from core.errors import (
    MalformedDataError,
    MissingDataError,
    UsageError,
    choose_from,
    exit_code_of,
    log_to_terminal,
)
from core.files import atomic_write
from core.insilico.paired_evolution.folders import (
    generator_of,
    read_archive,
    run_of_archive,
    unit_of_folder,
)
from core.utils.statistics.t_tests import ttest_ind_df, ttest_rel_df

logger = logging.getLogger(__name__)

#: Columns of the published table of runs; whether a run says that its networks are untrained; and
#: its largest response without the noise that was added to scores.
COLUMNS = ("netname", "layer", "unitid", "x", "y", "RFresize", "optimmethod", "RND", "GANname",
           "score", "maxscore", "maxstep", "initscore", "untrained", "true_maxscore")  # fmt: skip

#: What tells units apart.
UNIT = ["netname", "layer", "RFresize", "unitid"]

#: Within this, layers are compared.
NETWORK = ["netname", "RFresize"]

#: Scores that are normalised by the highest score of the unit, under these names.
NORMALISED = {"score": "score_norm", "maxscore": "maxscore_norm", "initscore": "initscore_norm"}

#: Generations whose mean is the score at the start.
INITIAL_GENERATIONS = 2


@dataclass(frozen=True)
class Gathered:
    """All runs below some folders.

    Attributes
    ----------
    runs : pandas.DataFrame
        One row a run, columns `COLUMNS`. x and y are the row and column of the unit in its map,
        missing in a flat layer. score: mean of the last generation. maxscore: highest of all.
        maxstep: number of the image that has it. initscore: mean of the first two generations.
        true_maxscore: highest response before noise was added, maxscore where none was.
    left_out : dict
        Path of each file that could not be used → why.
    """

    runs: pd.DataFrame
    left_out: dict[Path, str]



def gather(*roots: str | Path) -> Gathered:
    """Read all runs below some folders, ours or published ones.

    Raises
    ------
    MissingDataError
        If there is no such folder, or no run in any of them.
    """
    rows, left_out = [], {}
    for root in map(Path, roots):
        if not root.is_dir():
            raise MissingDataError(f"no folder {root}; give one with results of evolutions.")
        for path in sorted(root.rglob("scores*.npz")):
            try:
                rows.append(_row_of(path))
            except MalformedDataError as error:
                left_out[path] = str(error)
    if not rows and not left_out:
        raise MissingDataError(
            f"no run of an evolution (scores<label>_<number>.npz) below "
            f"{', '.join(map(str, roots))}; give the folder that holds those of units."
        )
    runs = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"x": "Int64", "y": "Int64"})
    return Gathered(runs, left_out)


def _row_of(path: Path) -> dict[str, Any]:
    run = run_of_archive(path.name)
    if run is None:
        raise MalformedDataError(f"{path} is not named scores<label>_<five digits>.npz.")
    label, number = run
    unit, archive = unit_of_folder(path.parent.name), read_archive(path)
    first, last = archive.generations.min(), archive.generations.max()
    row, column = unit.centre or (pd.NA, pd.NA)
    start = archive.generations < first + INITIAL_GENERATIONS
    return {
        "netname": unit.net, "layer": unit.layer, "unitid": unit.channel, "x": row, "y": column,
        "RFresize": unit.in_field, "optimmethod": label, "RND": number,
        "GANname": generator_of(label),
        "score": archive.scores[archive.generations == last].mean(),
        "maxscore": archive.scores.max(), "maxstep": int(archive.scores.argmax()),
        "initscore": archive.scores[start].mean(), "untrained": archive.untrained,
        "true_maxscore": archive.responses.max(),
    }  # fmt: skip


def normalised(runs: pd.DataFrame) -> pd.DataFrame:
    """Add scores as shares of the highest response in any run of the unit.

    The largest of many noisy scores grows with their number and would make every share too low, so
    that the response without noise divides; maxscore_norm of noisy runs may exceed 1.

    Returns
    -------
    pandas.DataFrame
        With columns score_norm, maxscore_norm and initscore_norm; NaN for a unit that never
        responded above zero.
    """
    highest = runs.groupby(UNIT)["true_maxscore"].transform("max")
    divisor = highest.where(highest > 0)
    return runs.assign(**{name: runs[score] / divisor for score, name in NORMALISED.items()})


def paired_table(
    runs: pd.DataFrame, value: str = "score_norm", every_pair: bool = False
) -> pd.DataFrame:
    """Put runs in DeePSim beside runs in BigGAN, unit by unit.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `normalised`.
    value : str, default "score_norm"
        The column to compare.
    every_pair : bool, default False
        Each run in DeePSim with each in BigGAN. By default, as published, the first with the first
        in the order of their numbers, which is arbitrary; a run without partner stays alone.

    Returns
    -------
    pandas.DataFrame
        Columns netname, layer, RFresize, unitid; RND_fc6 and RND_BigGAN, missing where there is no
        partner; and one per optimiser with its value.

    Raises
    ------
    UsageError
        If there is no such column, or one run is there twice.
    """
    if value not in runs.columns:
        raise UsageError(choose_from(value, runs.columns, "column"))
    key = [*UNIT, "RND", "optimmethod"]
    twice = runs[runs.duplicated(key)]
    if len(twice):
        raise UsageError(
            f"{len(twice)} runs are there twice, such as {dict(twice.iloc[0][key])}; gather each "
            "folder once."
        )
    sides = [_by_optimiser(runs, generator, value) for generator in ("fc6", "BigGAN")]
    if every_pair:
        pairs = sides[0].merge(sides[1], on=UNIT)
    else:
        ranked = [side.assign(rank=side.groupby(UNIT).cumcount()) for side in sides]
        pairs = ranked[0].merge(ranked[1], on=[*UNIT, "rank"], how="outer").drop(columns="rank")
    numbers = ["RND_fc6", "RND_BigGAN"]
    others = [column for column in pairs.columns if column not in {*UNIT, *numbers}]
    return pairs[[*UNIT, *numbers, *others]].astype(dict.fromkeys(numbers, "Int64"))


def _by_optimiser(runs: pd.DataFrame, generator: str, value: str) -> pd.DataFrame:
    """Put the runs of one generator that share a number side by side, a column an optimiser."""
    part = runs[runs["GANname"] == generator]
    wide = part.pivot(index=[*UNIT, "RND"], columns="optimmethod", values=value)  # noqa: PD010
    return wide.rename_axis(columns=None).reset_index().rename(columns={"RND": f"RND_{generator}"})


def methods_of(pairs: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the optimisers of a paired table, those in DeePSim and those in BigGAN."""
    known = [c for c in pairs.columns if c not in {*UNIT, "RND_fc6", "RND_BigGAN"}]
    in_fc6 = [method for method in known if generator_of(method) == "fc6"]
    return in_fc6, [method for method in known if method not in in_fc6]


def unit_means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Average the runs of every unit, optimiser by optimiser.

    Which run stands beside which within a unit is arbitrary, and runs of a unit are alike: units
    are what tests are to count.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Of `paired_table`.

    Returns
    -------
    pandas.DataFrame
        One row a unit: netname, layer, RFresize, unitid and one column per optimiser.
    """
    in_fc6, in_biggan = methods_of(pairs)
    return pairs.groupby(UNIT, sort=False)[[*in_fc6, *in_biggan]].mean().reset_index()


def paired_tests(pairs: pd.DataFrame, runs_as_rows: bool = False) -> pd.DataFrame:
    """Compare optimisers in every layer: DeePSim with BigGAN, and those of BigGAN.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Of `paired_table`.
    runs_as_rows : bool, default False
        Whether every pair of runs counts, as in the published analysis; its p values are too small
        (with 20 units of 10 runs, 17 to 31 % lie below 0.05 where nothing differs). By default a
        unit is one row, the mean of its runs.

    Returns
    -------
    pandas.DataFrame
        Per network, placement, layer and pair of optimisers: n and what it counts (``of``), both
        means, t (positive where the first is higher), its degrees of freedom, two-sided p, and the
        fraction of rows in which the second is higher; t and p are missing below 2 rows.
    """
    table = pairs if runs_as_rows else unit_means(pairs)
    in_fc6, in_biggan = methods_of(pairs)
    compared = [*product(in_fc6, in_biggan), *combinations(in_biggan, 2)]
    rows = []
    for (net, in_field, layer), part in table.groupby([*NETWORK, "layer"]):
        for first, second in compared:
            known = part[[first, second]].dropna()
            if len(known):
                test = ttest_rel_df(known, None, first, second) if len(known) > 1 else None
                rows.append({
                    "netname": net, "RFresize": in_field, "layer": layer,
                    "layershort": layershort(str(layer)), "first": first, "second": second,
                    "n": len(known), "of": "runs" if runs_as_rows else "units",
                    "mean_first": known[first].mean(), "mean_second": known[second].mean(),
                    **_outcome(test),
                    "fraction_second_higher": (known[second] > known[first]).mean(),
                })  # fmt: skip
    return _in_order(pd.DataFrame(rows))


def layer_tests(
    pairs: pd.DataFrame, layers: Sequence[str] | None = None, runs_as_rows: bool = False
) -> pd.DataFrame:
    """Compare the advantage of DeePSim between each layer and the last two.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Of `paired_table`.
    layers : sequence of str, optional
        The layers from first to last; by default in the order of their names, numbers as numbers.
    runs_as_rows : bool, default False
        As for `paired_tests`.

    Returns
    -------
    pandas.DataFrame
        Per network, placement, pair of optimisers and pair of layers: the mean difference, DeePSim
        minus BigGAN, in the layer and in the later one, how many rows of what (``of``) both have,
        and an independent t test between them.

    Raises
    ------
    UsageError
        If a layer is not in the table.
    """
    table = pairs if runs_as_rows else unit_means(pairs)
    rows = []
    for (net, in_field), part in table.groupby(NETWORK):
        order = _layer_order(part, layers)
        for first, second in product(*methods_of(part)):
            differences = part.assign(difference=part[first] - part[second])
            differences = differences[differences["difference"].notna()]
            counts = differences["layer"].value_counts()
            shown = [layer for layer in order if counts.get(layer, 0) > 1]
            for later in shown[-2:]:
                for layer in shown[: shown.index(later)]:
                    here = (differences["layer"] == layer).to_numpy()
                    there = (differences["layer"] == later).to_numpy()
                    test = ttest_ind_df(differences, here, there, "difference")
                    rows.append({
                        "netname": net, "RFresize": in_field, "layer": layer, "later": later,
                        "first": first, "second": second, "n": int(here.sum() + there.sum()),
                        "of": "runs" if runs_as_rows else "units",
                        "difference": differences["difference"][here].mean(),
                        "difference_later": differences["difference"][there].mean(),
                        **_outcome(test),
                    })  # fmt: skip
    return pd.DataFrame(rows)


def layershort(layer: str) -> str:
    """Shorten the name of a layer for an axis.

    Examples
    --------
    >>> layershort(".layer3.Bottleneck5"), layershort(".Linearfc")
    ('block3B5', 'fc')
    """
    for name, short in ((".Linearfc", "fc"), (".layer", "block"), (".Bottleneck", "B")):
        layer = layer.replace(name, short)
    return layer


def _outcome(test: Any) -> dict[str, float]:
    if test is None:
        return {"t": np.nan, "dof": np.nan, "p": np.nan}
    return {"t": float(test.statistic), "dof": float(test.df), "p": float(test.pvalue)}


def _layer_order(part: pd.DataFrame, layers: Sequence[str] | None) -> list[str]:
    present = sorted(part["layer"].unique(), key=_natural)
    if layers is None:
        return present
    for layer in layers:
        if layer not in present:
            raise UsageError(choose_from(layer, present, "layer"))
    return list(layers)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort layers by name, numbers as numbers; the order of optimisers stays."""
    if table.empty:
        return table
    return table.sort_values(
        [*NETWORK, "layer"], key=lambda column: column.map(_natural), kind="stable"
    ).reset_index(drop=True)


def _natural(name: object) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|\D+", str(name).casefold())
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 some files were left out, 2 usage, 3 nothing there."""
    parser = command_parser(
        "python -m core.insilico.evolution_analysis",
        "Gather the runs of evolutions into one table and compare the generators.",
        "python -m core.insilico.evolution_analysis my_evolution --output runs.csv",
    )
    parser.add_argument("root", nargs="+", type=a_path, metavar="ROOT", help="folder of results")
    parser.add_argument("--output", type=a_path, metavar="CSV", help="write the table of runs here")
    parser.add_argument(
        "--every-pair", action="store_true", help="each run in DeePSim with each in BigGAN"
    )
    parser.add_argument(
        "--runs-as-rows",
        action="store_true",
        help="tests count every run, as published, instead of the mean of each unit",
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="layers from first to last")
    given = parser.parse_args(arguments)
    log_to_terminal()
    return exit_code_of(partial(_run, given))


def _run(given: argparse.Namespace) -> int:
    if given.output:
        require_writable(given.output.parent)
    gathered = gather(*given.root)
    runs = normalised(gathered.runs)
    if given.output:
        write_table(given.output, runs)
    sys.stdout.write(summary(runs, given.every_pair, given.layers, given.runs_as_rows))
    for reason in gathered.left_out.values():
        sys.stderr.write(f"left out: {reason}\n")
    return 1 if gathered.left_out else 0


def write_table(path: str | Path, runs: pd.DataFrame) -> None:
    """Write a table of runs as CSV.

    Raises
    ------
    CannotWriteError
        If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        runs.to_csv(unfinished, index=False)


def summary(
    runs: pd.DataFrame,
    every_pair: bool = False,
    layers: Sequence[str] | None = None,
    runs_as_rows: bool = False,
) -> str:
    """Tell in words and tables how the generators compare.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `normalised`.
    every_pair, layers, runs_as_rows
        As in `paired_table`, `layer_tests` and `paired_tests`.
    """
    mark = "  UNTRAINED networks" if runs["untrained"].any() else ""
    parts = [f"{len(runs)} runs of {runs.groupby(UNIT).ngroups} units{mark}"]
    for value, what in (("score_norm", "last generation"), ("initscore_norm", "first two")):
        pairs = paired_table(runs, value, every_pair)
        tests = paired_tests(pairs, runs_as_rows)
        if len(tests):
            parts += [f"Share of the unit's highest score, {what}:", _told(tests, "layer")]
        between = layer_tests(pairs, layers, runs_as_rows)
        if len(between):
            parts += ["DeePSim minus BigGAN, between layers:", _told(between)]
    return "\n\n".join(parts) + "\n"


def _told(table: pd.DataFrame, *without: str) -> str:
    shown = table.drop(columns=list(without))
    if "layer" in without:
        shown = shown.rename(columns={"layershort": "layer"})
    p = shown["p"].map(lambda p: "" if np.isnan(p) else f"{p:.1e}")
    return shown.assign(p=p).to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep="")
