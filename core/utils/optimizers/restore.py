"""Make an optimiser from a saved state alone, without the arguments of its constructor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.errors import MalformedDataError
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.cma import CholeskyCMAES, HessCMAES
from core.utils.optimizers.composite import concat_wrapper, fix_param_wrapper, founder_wrapper
from core.utils.optimizers.gradient import GradientAscent
from core.utils.optimizers.sphere import ZOHA_Sphere_lr_euclid
from core.utils.optimizers.state import array_entry, entry, of_prefix, read_state

#: Sources of random numbers that a state may name.
_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def optimizer_from_state(state: Mapping[str, Any] | str | os.PathLike[str]) -> AskTellOptimizer:
    """Make the optimiser that a state was saved of; it goes on bit for bit.

    Parameters
    ----------
    state : path-like or mapping
        A file of `AskTellOptimizer.save_state`, or ``state_dict(whole=True)``.

    Returns
    -------
    AskTellOptimizer
        With a source of random numbers of its own, where that of the saved one stood.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is no whole state.

    Examples
    --------
    >>> first = CholeskyCMAES(8, init_code=np.zeros(8), random_seed=3)
    >>> first.tell([0.0])
    >>> second = optimizer_from_state(first.state_dict(whole=True))
    >>> bool((first.ask() == second.ask()).all())
    True
    """
    state = state if isinstance(state, Mapping) else read_state(state)
    optimizer = _made(state, {})
    optimizer.load_state_dict(state)
    return optimizer


def _made(state: Mapping[str, Any], sources: dict[str, Any]) -> AskTellOptimizer:
    """Make an optimiser as the saved one was made; parts at one place share their source."""
    if any(key.startswith("first.") for key in state):
        parts = [_made(of_prefix(state, prefix), sources) for prefix in ("first.", "second.")]
        return concat_wrapper(*parts)
    if "founders" in state:
        searching = _made(of_prefix(state, "search."), sources)
        return founder_wrapper(searching, np.asarray(state["founders"]))
    if "fixed_code" in state:
        fixed = array_entry(state, "fixed_code", (-1,))
        free = _made(of_prefix(state, "free."), sources)
        return fix_param_wrapper(free, fixed, pre=bool(entry(state, "pre")))
    try:
        settings = json.loads(str(entry(state, "settings")))
        common = {"dtype": str(entry(state, "dtype")), "random_seed": _source(state, sources)}
        return _of_kind(state, settings, common)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedDataError(
            f"this is no whole state of an optimiser ({error!r}); give a file of save_state, or "
            "state_dict(whole=True)."
        ) from error


def _of_kind(
    state: Mapping[str, Any], settings: Mapping[str, Any], common: Mapping[str, Any]
) -> AskTellOptimizer:
    """Make one optimiser with the settings and arrays of a state."""
    kind, dimen = settings["optimizer"], settings["space_dimen"]
    if kind == "GradientAscent":
        arguments = {name: settings[name] for name in ("lr", "maximize", "beta1", "beta2")}
        codes = array_entry(state, "codes", (-1, -1))
        return GradientAscent(codes, dtype=common["dtype"], **arguments)
    if kind == "ZOHA_Sphere_lr_euclid":
        arguments = {name: value for name, value in settings.items() if name != "optimizer"}
        sphere = ZOHA_Sphere_lr_euclid(**arguments, **common)
        sphere.mulist = array_entry(state, "mulist", (-1,))
        return sphere
    names = ("population_size", "init_sigma", "Aupdate_freq", "maximize")
    arguments = {name: settings[name] for name in names} | {"optim_params": settings["rates"]}
    if "init_code" in state:
        arguments["init_code"] = np.asarray(state["init_code"])
    if kind == "CholeskyCMAES":
        return CholeskyCMAES(dimen, **arguments, **common)
    if kind != "HessCMAES":
        raise ValueError(f"an optimiser {kind}")
    k = settings["search_dimen"]
    pairs: dict[str, Any] = {
        "eigvals": array_entry(state, "eigvals", (k,)),
        "eigvects": array_entry(state, "eigvects", (dimen, k)),
    }
    return HessCMAES(dimen, cutoff=k, expon=settings["expon"], **pairs, **arguments, **common)


def _source(state: Mapping[str, Any], sources: dict[str, Any]) -> Any:
    """Return a source of random numbers of the saved kind; its place is set on loading."""
    if "random" not in state:
        return None
    told = str(state["random"])
    if told not in sources:
        saved = json.loads(told)
        name = saved["state"]["bit_generator"]
        if name not in _BIT_GENERATORS:
            raise ValueError(f"random numbers of {name}")
        kind = np.random.RandomState if saved["kind"] == "RandomState" else np.random.Generator
        sources[told] = kind(getattr(np.random, name)(0))
    return sources[told]
