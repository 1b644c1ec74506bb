"""What the tables say of a simulation beside what truly happened in it.

``python -m neuro_data_analysis.recovery SIMULATED TABLES`` compares ``truth.csv`` of a simulated
MATROOT with the source data exported from it: bias and spread of time constants, latencies and
rates, power and false positives of the test of success, by area and space.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("neuro_data_analysis.recovery"))

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.command_line import a_path, command_parser, require_writable
from core.errors import MalformedDataError, MissingDataError, exit_code_of
from core.files import atomic_write, write_json
from core.source_tables.reader import SourceData
from core.spaces import Space
from neuro_data_analysis.evolution.stats import BASELINE_MS
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.robustness.climbs import ESTIMATES, running_mean
from neuro_data_analysis.robustness.intervals import wilson_interval
from neuro_data_analysis.simulation.matroot import TRUTH_FILE

#: Success of a thread whose time constant counts (Figure 4D).
P_SUCCESS = 0.01

@dataclass(frozen=True)
class Recovered:
    """One quantity of one group of threads: measured against true.

    Attributes
    ----------
    quantity, area, space : str
        Of what, where.
    n : int
        Threads.
    truth, measured, bias, sd : float
        Means; mean and standard deviation (ddof 1) of measured minus true.
    r : float or None
        Pearson correlation; None where nothing varies.
    """

    quantity: str
    area: str
    space: str
    n: int
    truth: float
    measured: float
    bias: float
    sd: float
    r: float | None


@dataclass(frozen=True)
class Found:
    """How many threads of one kind pass the test of success.

    Attributes
    ----------
    climb : str
        What they truly do: clear, weak or none.
    area, space : str
        Where.
    level : float
        The criterion: p of max > init below it, t above 0.
    passed, n : int
        Threads.
    interval : (float, float)
        95 % Wilson interval of the rate.
    """

    climb: str
    area: str
    space: str
    level: float
    passed: int
    n: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Recovery:
    """Everything that is compared, and the points of the figure.

    Attributes
    ----------
    recovered : list of Recovered
    found : list of Found
    points : pandas.DataFrame
        One row a thread: ``visual_area``, ``space``, ``climbed``, and measured and true values.
    """

    recovered: list[Recovered]
    found: list[Found]
    points: pd.DataFrame


def compare(simulated: Path, tables: Path) -> Recovery:
    """Compare a simulated MATROOT with the source data made of it.

    Parameters
    ----------
    simulated : pathlib.Path
        The MATROOT, with ``truth.csv``.
    tables : pathlib.Path
        Source data with Fig4, Fig5 and ExtendedFig4.

    Returns
    -------
    Recovery

    Raises
    ------
    MissingDataError
        If there is no truth, or a table is missing.
    MalformedDataError
        If the tables are not simulated, or of other experiments.
    """
    points = _points(_read_truth(simulated), SourceData(tables))
    return Recovery(list(_recovered(points)), list(_found(points)), points)


def _read_truth(simulated: Path) -> pd.DataFrame:
    path = simulated / TRUTH_FILE
    if not path.is_file():
        raise MissingDataError(
            f"{path} does not exist; give the folder that "
            "`python -m neuro_data_analysis.simulate_recordings` wrote."
        )
    return pd.read_csv(path)


def _points(truth: pd.DataFrame, source: SourceData) -> pd.DataFrame:
    """Put the truth of every thread beside what the tables say of it."""
    meta = source.read("Fig4/time_constants")
    if source.provenance("Fig4").is_real:
        raise MalformedDataError(f"{source.folder}/Fig4 is not simulated; it has no truth.")
    if sorted(meta["Expi"]) != sorted(truth["Expi"].unique()):
        raise MalformedDataError(
            f"{source.folder} and the truth are of other experiments; export the tables from the "
            "same folder of recordings."
        )
    valid = source.read("Fig4/masks")["valid"].astype(bool)
    single = source.read("ExtendedFig4/meta")
    parts = []
    for space in Space:
        true = truth[truth["thread"] == space.thread].set_index("Expi").loc[meta["Expi"]]
        response = source.read("Fig4/response_mean", space=space)
        late = source.read("Fig5/psth", block=55, space=space)
        normalizer = np.maximum(*(single[f"maxrsp_{s.thread}_mean"].to_numpy() for s in Space))
        rates = [row[:n] for row, n in zip(response, meta["blockN"], strict=True)]
        parts.append(
            true.reset_index().assign(
                space=str(space),
                valid=valid.to_numpy(),
                measured_blockN=meta["blockN"].to_numpy(),
                p=meta[f"p_maxinit_{space.thread}"].to_numpy(),
                t=meta[f"t_maxinit_{space.thread}"].to_numpy(),
                measured_tc=meta[f"{space.prefix}_tc0_bslinit"].to_numpy(dtype=float),
                measured_first_rate=single[f"initrsp_{space.thread}_mean"].to_numpy(),
                measured_last_rate=response[:, -1] * normalizer,
                measured_latency_ms=[half_rise_ms(psth) for psth in late],
                largest=np.maximum(true["first_rate"], true["last_rate"]).to_numpy(),
                measured_largest=single[f"maxrsp_{space.thread}_mean"].to_numpy(),
                **{name: [estimate(r) for r in rates] for name, estimate in ESTIMATES.items()},
            )
        )
    points = pd.concat(parts, ignore_index=True)
    return points.assign(climbed=points["valid"] & (points["p"] < P_SUCCESS))


def _recovered(points: pd.DataFrame) -> Iterator[Recovered]:
    quantities: Mapping[str, tuple[str, str]] = {
        **{f"time constant, {name}, blocks": ("tc0_bslinit", name) for name in ESTIMATES},
        "latency, ms": ("latency_ms", "measured_latency_ms"),
        "first block, events/s": ("first_rate", "measured_first_rate"),
        "last (padded) block, events/s": ("last_rate", "measured_last_rate"),
        "largest block, events/s": ("largest", "measured_largest"),
        "blocks": ("blockN", "measured_blockN"),
    }
    for quantity, (true, measured) in quantities.items():
        for area in AREAS:
            for space in Space:
                chosen = points["climbed"] & (points["visual_area"] == area)
                group = points[chosen & (points["space"] == space)]
                if len(group) > 1:
                    x, y = (group[name].to_numpy(dtype=float) for name in (true, measured))
                    yield _one(quantity, area, str(space), x, y)


def _one(
    quantity: str, area: str, space: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> Recovered:
    error = y - x
    varies = min(np.ptp(x), np.ptp(y)) > 0
    return Recovered(
        quantity, area, space, len(x), float(x.mean()), float(y.mean()), float(error.mean()),
        float(error.std(ddof=1)), float(np.corrcoef(x, y)[0, 1]) if varies else None,
    )  # fmt: skip


def _found(points: pd.DataFrame) -> Iterator[Found]:
    counted = points[points["valid"]]
    for level in (0.05, P_SUCCESS):
        for climb in ("clear", "weak", "none"):
            for (area, space), group in counted[counted["climb"] == climb].groupby(
                ["visual_area", "space"]
            ):
                passed = int(((group["p"] < level) & (group["t"] > 0)).sum())
                interval = wilson_interval(passed, len(group))
                yield Found(climb, str(area), str(space), level, passed, len(group), interval)


def half_rise_ms(psth: NDArray[np.float64]) -> float:
    """When a mean PSTH first reaches half of its maximum over the baseline, ms."""
    rest = psth[slice(*BASELINE_MS)].mean()
    evoked = running_mean(psth) - rest
    return float(np.argmax(evoked >= evoked.max() / 2))


def told(recovery: Recovery) -> str:
    """Return both tables for a terminal."""
    recovered = pd.DataFrame([asdict(row) for row in recovery.recovered])
    found = pd.DataFrame([asdict(row) for row in recovery.found])
    rates = [f"{low:.2f} to {high:.2f}" for low, high in found["interval"]]
    parts = (
        "SIMULATED: truth and tables of valid threads that climbed (own p<0.01)",
        recovered.to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep="-"),
        "threads that pass max > init (t > 0), by what they truly do",
        found.assign(interval=rates).to_string(index=False),
    )
    return "\n\n".join(parts) + "\n"


def drawn(recovery: Recovery) -> Figure:
    """Draw measured against true time constants and latencies, and the rates of success."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    chosen = recovery.points[recovery.points["climbed"]]
    for axes, true, measured, name in (
        (panels[0], "tc0_bslinit", "measured_tc", "Time constant (blocks)"),
        (panels[1], "latency_ms", "measured_latency_ms", "Latency (ms)"),
    ):
        for space in Space:
            group = chosen[chosen["space"] == space]
            axes.plot(
                group[true], group[measured], space.marker, color=space.colour, alpha=0.5,
                markersize=4, markeredgewidth=0, label=str(space),
            )  # fmt: skip
        both = chosen[[true, measured]].to_numpy()
        if not both.size:
            continue
        axes.axline([both.min()] * 2, slope=1, color="k", linestyle="--", linewidth=0.8)
        axes.set(xlabel=f"{name}, true", ylabel=f"{name}, measured")
    panels[0].legend(loc="lower right", fontsize="small", frameon=False)
    _draw_rates(panels[2], recovery.found)
    figure.suptitle("SIMULATED recordings: tables against truth", fontsize="medium")
    return figure


def _draw_rates(axes: Axes, found: Sequence[Found]) -> None:
    table = pd.DataFrame([asdict(row) for row in found])
    for offset, (level, marker) in enumerate(((0.05, "o"), (P_SUCCESS, "s"))):
        for place, climb in enumerate(("none", "weak", "clear")):
            rows = table[(table["level"] == level) & (table["climb"] == climb)]
            passed, n = int(rows["passed"].sum()), int(rows["n"].sum())
            if n:
                low, high = wilson_interval(passed, n)
                rate, x = passed / n, place + 0.2 * (offset - 0.5)
                reach = [[max(rate - low, 0)], [max(high - rate, 0)]]  # Wilson's ends, rounded
                axes.errorbar(
                    x, rate, reach, fmt=marker, color="k", capsize=3, markersize=5,
                    mfc="k" if offset else "w", label=f"P<{level}" if place == 0 else None,
                )  # fmt: skip
    axes.set_xticks(range(3), labels=["none", "weak", "clear"])
    axes.set(xlabel="What the thread truly does", ylabel="Share that passes", ylim=(-0.03, 1.03))
    axes.legend(loc="upper left", fontsize="small", frameon=False)


def write(recovery: Recovery, output: Path) -> list[Path]:
    """Write ``recovery.json`` and ``recovery.png``; earlier ones are replaced."""
    record = {
        "simulated": True,
        "recovered": [asdict(row) for row in recovery.recovered],
        "found": [asdict(row) for row in recovery.found],
    }
    paths = [output / "recovery.json", output / "recovery.png"]
    write_json(paths[0], record)
    with atomic_write(paths[1]) as unfinished:
        drawn(recovery).savefig(unfinished, format="png", dpi=150, metadata={"Software": None})
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 1 tables and truth do not fit, 2 usage, 3 data are missing."""
    parser = command_parser(
        "python -m neuro_data_analysis.recovery",
        "Compare tables of simulated recordings with the truth of the simulation.",
        "python -m neuro_data_analysis.recovery simulated_matroot simulated_tables",
    )
    parser.add_argument("simulated", type=a_path, help="folder of simulated recordings")
    parser.add_argument("tables", type=a_path, help="source data exported from it")
    parser.add_argument(
        "--output", type=a_path, default=Path("recovery"), metavar="DIR",
        help="default: %(default)s",
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    require_writable(given.output)
    recovery = compare(given.simulated, given.tables)
    paths = write(recovery, given.output)
    sys.stdout.write(told(recovery))
    sys.stdout.writelines(f"{path}\n" for path in paths)
