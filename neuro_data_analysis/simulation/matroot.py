"""A folder of recordings that were never made: the format of the real ones, with known truth.

The real recordings are not distributed. `simulate_matroot` writes a MATROOT that every other part
of this package reads like a real one; its file, the head of its file and the folder's README say
that it is simulated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count  # type: ignore[import-untyped]
from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

from core.errors import CannotWriteError, UsageError, UserError
from core.files import atomic_write, move_into, staging_folder, writes_alone
from core.published import EXAMPLE_EXPI
from neuro_data_analysis.matlab.v73_writer import deflated, write_v73
from neuro_data_analysis.matlab.values import N_THREADS
from neuro_data_analysis.neural_data_lib import (
    EXPSEP_PICKLE,
    MAT_FILE,
    MERGE_PICKLE,
    OPTIMIZER_FILE,
    SIMULATED_ATTRIBUTE,
    VARIABLE,
    load_neural_data,
)
from neuro_data_analysis.simulation.assumptions import LONGEST_EXPI, SHORT_AND_WRONG_SPACE
from neuro_data_analysis.simulation.effects import NO_EFFECTS, Effects, with_effects
from neuro_data_analysis.simulation.experiment import (
    FIELDS,
    optimizer_names,
    simulate_experiment,
)
from neuro_data_analysis.simulation.latent_codes import write_block_codes, write_merged_codes
from neuro_data_analysis.simulation.population import ExperimentPlan, plan_population

#: Seed of a simulation that no one chose: one whose population comes close to the published one.
DEFAULT_SEED = 2031

#: Elements of the recording file; those that are not in the list of experiments are empty.
N_ELEMENTS = 190

#: From so many experiments and sets of codes on, processes that make them are worth starting.
_MANY_TASKS = 40

#: Written beside the recording file.
TRUTH_FILE = "truth.csv"
README_FILE = "README.md"

_README_TITLE = "# SIMULATED recordings"

#: Experiments with latent codes: a session of 2020, one of 2022, and one whose codes are merged.
BLOCK_CODES_OF = (EXAMPLE_EXPI, 65)
MERGED_CODES_OF = 3

#: Order in which a small simulation takes experiments: the example, all areas, the longest and the
#: shortest last block, every kind that does not count (space, baseline, length), latent codes.
FIRST_CHOSEN = (
    EXAMPLE_EXPI, 188, 26, 3, LONGEST_EXPI, 187, 27, 5, 4, 23, SHORT_AND_WRONG_SPACE, 65,
)  # fmt: skip


@writes_alone("folder", wait=True)
def simulate_matroot(
    folder: str | os.PathLike[str],
    seed: int = DEFAULT_SEED,
    n_experiments: int | None = None,
    progress: Callable[[Sequence[ExperimentPlan]], Iterable[ExperimentPlan]] = iter,
    null: bool = False,
    effects: Effects = NO_EFFECTS,
) -> Path:
    """Write a MATROOT of simulated paired evolutions.

    The folder then holds the recording file (MATLAB v7.3, 190 elements; those of the experiments
    that were not simulated are empty, as the 20 missing ones are in the real file), ``truth.csv``
    (what each thread truly does), ``meta_optimizer_info.csv``, latent codes of a few experiments,
    and a README.

    Parameters
    ----------
    folder : path-like
        Made when it does not exist. An earlier simulation in it is replaced; anything else that
        has the name of one of the files is not.
    seed : int
        Decides everything; the same seed gives the same bytes. An experiment does not depend on
        which others are simulated.
    n_experiments : int, optional
        Simulate only so many, 1 to 170: the example of Figure 2 first, then a selection that
        covers the areas, the longest session and the reasons for exclusion (complete from 12 on).
        Default: all.
    progress : callable, optional
        Wraps the iteration over experiments, such as ``tqdm``.
    null : bool, default False
        Whether no thread climbs or falls: every block has the expected response of the first.
    effects : Effects, optional
        Chance in the counts of success, effects of sites and animals.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If `n_experiments` is out of range.
    CannotWriteError
        If the folder cannot be written, or holds recordings or files that no simulation wrote.
    """
    folder = Path(folder)
    population = with_effects(plan_population(seed), effects, seed)
    plans = choose_experiments(population, n_experiments)
    if null:
        plans = tuple(plan.without_climb() for plan in plans)
    _refuse_what_is_not_simulated(folder)
    with (
        staging_folder(folder / "simulation") as made,
        _in_turn([*(partial(_draw, plan) for plan in plans), *_code_files(plans, made)]) as results,
    ):
        _write_text(made / README_FILE, _readme(seed, len(plans), null, effects))
        _write_csv(made / TRUTH_FILE, truth_table(plans))
        _write_csv(made / OPTIMIZER_FILE, _optimizer_table(plans))
        note = f"SIMULATED recordings, seed {seed}, of no animal. HDF5 schema 1.00 ."
        with write_v73(made / MAT_FILE, note) as file:
            file.mark(SIMULATED_ATTRIBUTE, True)
            file.save_struct_array(VARIABLE, FIELDS, _elements(progress(plans), results))
        for _ in results:  # until the codes are written
            pass
        _replace(folder, made)
    return folder


def _replace(folder: Path, made: Path) -> None:
    """Move a simulation into its place; while two are mixed, there are no recordings to read.

    The note that the folder is ours goes first, the recordings go last.
    """
    files = sorted(path for path in made.rglob("*") if path.is_file())
    files.sort(key=lambda path: (path.name == MAT_FILE, path.name != README_FILE))
    (folder / MAT_FILE).unlink(missing_ok=True)
    for path in files:
        move_into(folder / path.parent.relative_to(made), [path])


def _refuse_what_is_not_simulated(folder: Path) -> None:
    """Refuse a folder that holds recordings, or any file of ours without the README of ours."""
    readme = folder / README_FILE
    is_ours = readme.is_file() and readme.read_bytes().startswith(_README_TITLE.encode())
    ours = () if is_ours else (OPTIMIZER_FILE, TRUTH_FILE, README_FILE)
    foreign = [name for name in (*ours, EXPSEP_PICKLE, MERGE_PICKLE) if (folder / name).exists()]
    recordings = folder / MAT_FILE
    if recordings.exists() and not (recordings.is_file() and _is_simulated(recordings)):
        foreign.append(MAT_FILE)
    if foreign:
        raise CannotWriteError(
            f"{folder} holds {', '.join(foreign)}, which no simulation wrote; nothing there is "
            "replaced. Give a new or empty folder."
        )


def _is_simulated(recordings: Path) -> bool:
    try:
        with load_neural_data(recordings) as found:
            return found.simulated
    except UserError:
        return False


def choose_experiments(
    plans: Sequence[ExperimentPlan], n_experiments: int | None
) -> tuple[ExperimentPlan, ...]:
    """Take the first of `FIRST_CHOSEN`, then the others by number; ascending by Expi.

    Raises
    ------
    UsageError
        If there are not so many.
    """
    if n_experiments is None:
        return tuple(plans)
    if not 1 <= n_experiments <= len(plans):
        raise UsageError(f"{n_experiments} experiments: between 1 and {len(plans)} can be made.")
    by_expi = {plan.expi: plan for plan in plans}
    order = [*FIRST_CHOSEN, *(expi for expi in by_expi if expi not in FIRST_CHOSEN)]
    return tuple(by_expi[expi] for expi in sorted(order[:n_experiments]))


def truth_table(plans: Iterable[ExperimentPlan]) -> pd.DataFrame:
    """Tell what every simulated thread does, one row per experiment and thread.

    Returns
    -------
    pandas.DataFrame
        ``Expi``, ``thread`` (0 DeePSim, 1 BigGAN), ``space``, ``visual_area``, ``blockN`` (blocks
        that count), ``climb`` (clear, weak, none), ``climbs`` (whether it climbs at all),
        ``climb_blocks`` (time constant), ``tc0_bslinit`` (what Figure 4D counts, without noise),
        ``spontaneous_rate``, ``first_rate``, ``last_rate`` (50-200 ms, events/s), ``latency_ms``
        (half-rise of the last response), ``early_gain``, ``late_gain`` (of the two humps, mean
        over 50-200 ms, events/s).
    """
    return pd.DataFrame([_truth_of(plan, thread) for plan in plans for thread in range(N_THREADS)])


def _truth_of(plan: ExperimentPlan, thread: int) -> dict[str, Any]:
    does = plan.threads[thread]
    gain = does.last_rate - does.first_rate
    return {
        "Expi": plan.expi,
        "thread": thread,
        "space": plan.listed[f"space{thread + 1}"],
        "visual_area": plan.listed["visual_area"],
        "blockN": plan.n_counted,
        "climb": does.climb,
        "climbs": does.climb != "none",
        "climb_blocks": does.climb_blocks,
        "tc0_bslinit": does.blocks_to_climb(plan.n_counted),
        "spontaneous_rate": plan.spontaneous_rate,
        "first_rate": does.first_rate,
        "last_rate": does.last_rate,
        "latency_ms": plan.latency_ms(thread),
        "early_gain": gain * (1 - does.gained_late_share),
        "late_gain": gain * does.gained_late_share,
    }


def _elements(
    plans: Iterable[ExperimentPlan], drawn: Iterator[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any] | None]:
    """Yield every element of the file in order, None where there is no experiment."""
    next_expi = 1
    for plan in plans:
        yield from (None for _ in range(next_expi, plan.expi))
        yield next(drawn)
        next_expi = plan.expi + 1
    yield from (None for _ in range(next_expi, N_ELEMENTS + 1))


@contextmanager
def _in_turn(tasks: Sequence[Callable[[], Any]]) -> Iterator[Iterator[Any]]:
    """Yield what each task does, in order; where they are many, other processes begin at once.

    One processor is left to the caller, who has most to do. Nothing is done after the block.
    """
    n_processes = cpu_count() - 1
    if len(tasks) < _MANY_TASKS or not n_processes:
        yield map(_do, tasks)
        return
    with (
        get_reusable_executor(n_processes) as executor,
        closing(executor.map(_do, tasks)) as results,
    ):
        yield results


def _do(task: Callable[[], Any]) -> Any:
    return task()


def _code_files(plans: Iterable[ExperimentPlan], folder: Path) -> Iterator[Callable[[], Any]]:
    for plan in plans:
        if plan.expi in BLOCK_CODES_OF:
            yield partial(write_block_codes, plan, folder)
        if plan.expi == MERGED_CODES_OF:
            yield partial(write_merged_codes, plan, folder)


def _draw(plan: ExperimentPlan) -> dict[str, Any]:
    """Draw an experiment, its spike densities compressed."""
    element = simulate_experiment(plan)
    for densities in (element[part]["psth"] for part in ("evol", "ref")):
        for position, density in np.ndenumerate(densities):
            densities[position] = deflated(density)
    return element


def _optimizer_table(plans: Iterable[ExperimentPlan]) -> pd.DataFrame:
    rows = []
    for plan in plans:
        first, second = optimizer_names(plan)
        spaces = {f"space_names{n}": plan.listed[f"space{n}"] for n in (1, 2)}
        rows.append({"Expi": plan.expi, **spaces, "optim_names1": first, "optim_names2": second})
    return pd.DataFrame(rows)


def _readme(seed: int, n_experiments: int, null: bool, effects: Effects) -> str:
    drawn = "drawn among the experiments of each area" if effects.drawn else (
        "dealt to come out as published, not drawn"
    )  # fmt: skip
    success = (
        "No thread climbs or falls: what passes a test of success is a false positive.\n\n"
        if null
        else f"Counts of success are {drawn}; every clear climb "
        "is made large enough\nto be found, and threads that do not climb fall by 5 %. They say "
        "nothing of the power or the level of a test.\n\n"
    )
    return (
        f"{_README_TITLE}\n\n"
        "No animal was recorded. Names, channels and spaces are those of real experiments; every "
        "spike was drawn\nby the simulator of this software (`python -m "
        "neuro_data_analysis.simulate_recordings`), "
        f"seed {seed}, {n_experiments} experiments.\n\n{success}"
        f"ln(DeePSim / BigGAN) of the responses varies by {effects.site_sd:g} from site to site "
        f"and by {effects.animal_sd:g} between\nanimals, beyond what the levels of single "
        "experiments do.\n\n"
        f"- `{MAT_FILE}`: the recordings, in the format of the real file "
        "(4 units in `rspmat` instead of some 74)\n"
        f"- `{TRUTH_FILE}`: what every thread truly does\n"
        f"- `{OPTIMIZER_FILE}`: names of the optimisers\n"
        f"- `Stimuli/`, `Exp{MERGED_CODES_OF:03d}_thread*_all_codes.mat`: latent codes of a few "
        "experiments, without pictures\n"
    )


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_write(path) as unfinished:
        table.to_csv(unfinished, index=False)


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
