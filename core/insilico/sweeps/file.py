"""The file of a sweep: which experiments, in a few lines of TOML.

A whole file::

    nets = ["resnet50", "resnet50_linf8"]
    layers = [".layer3.Bottleneck5", ".Linearfc"]      # or one list per net, as a table
    channels = [0, 20]                                 # from, up to; or a list instead:
    # units = [3, 17, [5, 10, 12]]                     # channels, or channel, row and column
    generators = ["BigGAN", "fc6"]                     # or FaceGAN, "module:object", …
    optimizers = {BigGAN = ["CholCMA", "HessCMA"], fc6 = ["HessCMA500"]}   # or one list
    hessians = {BigGAN = "H_avg_1000cls.npz", fc6 = "Evolution_Avg_Hess.npz"}
    steps = 100
    repetitions = 10
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice, product
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.insilico.paired_evolution.folders import EvolvedUnit
from core.insilico.paired_evolution.settings import GENERATORS, EvolutionSettings, Noise
from core.insilico.sweeps.cells import SweepCell
from core.utils.generators.named import full_name

#: Channels that evolve together in one job.
CHANNELS_PER_CELL = 10

#: Keys that say how to run and where files are; results are the same.
_MANNER = ("device", "batch_size", "hessians")

#: Keys of a sweep file, and the type of each.
_KEYS: dict[str, tuple[type, ...]] = {
    "nets": (list,),
    "layers": (list, dict),
    "channels": (list,),
    "units": (list,),
    "channels_per_cell": (int,),
    "generators": (list,),
    "optimizers": (list, dict),
    "placements": (list,),
    "steps": (int,),
    "repetitions": (int,),
    "population": (int,),
    "noise": (dict,),
    "untrained": (bool,),
    "biggan": (str,),
    "seed": (int,),
    "input_pixels": (int,),
    "channel_axis": (int,),
    "precision": (str,),
    "hessians": (dict,),
    "device": (str,),
    "batch_size": (int,),
}
_NEEDED = ("nets", "layers", "channels")

#: Handed on to every experiment as they are.
_COMMON = (
    "steps", "repetitions", "population", "untrained", "biggan", "seed", "input_pixels",
    "channel_axis", "precision",
)  # fmt: skip

#: No sweep file comes near this size, or this depth of a dotted key.
LARGEST_SWEEP_BYTES = 1 << 18
_DEEP_KEY = re.compile(r"(?:[\w\"'-]+[ \t]*\.[ \t]*){20}")

#: Letters of a folder's name before its digest; file systems take 255 bytes in all.
LONGEST_NAME = 200

#: More cells than this are a mistake in a file.
MOST_CELLS = 100_000


@dataclass(frozen=True)
class Sweep:
    """What a file of a sweep asks for.

    Attributes
    ----------
    content : dict
        The file, checked.
    base : pathlib.Path
        Folder of the file; paths in it start there.
    """

    content: dict[str, Any]
    base: Path = field(default_factory=Path)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the results."""
        return {key: value for key, value in self.content.items() if key not in _MANNER}

    def cells(self, root: Path) -> list[SweepCell]:
        """Return the cells, each with a folder below `root`.

        Raises
        ------
        UsageError
            If a setting of one of them is unknown or out of range, or there are too many.
        """
        settings_of_cells = list(islice(self._experiments(root), MOST_CELLS + 1))
        if len(settings_of_cells) > MOST_CELLS:
            raise UsageError(
                f"the sweep has more than {MOST_CELLS} cells; split it, or raise channels_per_cell."
            )
        return [
            SweepCell(
                folder=_folder(root, settings),
                settings=settings,
                hessians=self._hessians(),
                device=self.content.get("device", "auto"),
                batch_size=self.content.get("batch_size"),
            )
            for settings in settings_of_cells
        ]

    def _experiments(self, root: Path) -> Iterator[EvolutionSettings]:
        content = self.content
        common = {key: content[key] for key in _COMMON if key in content}
        noise = Noise(**content.get("noise", {}))
        generators = content.get("generators", list(GENERATORS))
        placements = content.get("placements", ["whole"])
        for net in content["nets"]:
            layers = _for(net, content["layers"], "layers")
            for layer, placement, generator in product(layers, placements, generators):
                labels = _for(generator, content.get("optimizers", ["CholCMA"]), "optimizers")
                yield from self._blocks(
                    root,
                    EvolutionSettings(
                        net=net, layer=layer, channels=tuple(content.get("channels", ())),
                        units=tuple(map(_unit, content.get("units", ()))), generators=(generator,),
                        labels=tuple(labels), placement=placement, noise=noise, **common,
                    ),
                )

    def _blocks(self, root: Path, whole: EvolutionSettings) -> Iterator[EvolutionSettings]:
        """Split units into cells; a smaller cell of an earlier call is kept as it is."""
        start, n_units = 0, len(whole.units) or whole.channels[1] - whole.channels[0]
        step = self.content.get("channels_per_cell", CHANNELS_PER_CELL)
        ran_before = (root / "cells").is_dir()
        while start < n_units:
            ends = range(min(start + step, n_units), start, -1 if ran_before else -step)
            blocks = [(end, _part(whole, start, end)) for end in ends]
            there = (block for block in blocks if _folder(root, block[1]).is_dir())
            start, block = next(there, blocks[0])
            yield block

    def _hessians(self) -> dict[str, str]:
        given = self.content.get("hessians", {})
        try:
            return {
                full_name(name): str((self.base / path).resolve()) for name, path in given.items()
            }
        except ValueError as error:
            raise UsageError(f"hessians names a path that cannot be: {error}.") from error


def read_sweep(path: str | Path) -> Sweep:
    """Read and check the file of a sweep.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is not TOML.
    UsageError
        If a key is unknown, missing, or of the wrong type.
    """
    path = Path(path)
    try:
        content = _read(path)
    except OSError as error:
        raise MissingDataError(f"no sweep file {path} ({error.strerror}).") from error
    except ValueError as error:
        raise MalformedDataError(f"{path} is not TOML: {error}.") from error
    try:
        _check(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return Sweep(content, path.parent)


def _read(path: Path) -> dict[str, Any]:
    """Parse a file of bounded size and depth."""
    text = path.read_bytes()[: LARGEST_SWEEP_BYTES + 1].decode("utf-8")
    if len(text) > LARGEST_SWEEP_BYTES:
        raise ValueError(f"more than {LARGEST_SWEEP_BYTES} bytes")
    if _DEEP_KEY.search(text):
        raise ValueError("a key is nested too deep")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _check(content: Mapping[str, Any]) -> None:
    if "networks" in content:
        raise UsageError(
            "networks would name code to run, which a file may not; give --networks "
            "package.module:function on the command line."
        )
    for key, value in content.items():
        if key not in _KEYS:
            raise UsageError(choose_from(key, _KEYS, "key"))
        right = isinstance(value, _KEYS[key]) and isinstance(value, bool) == (_KEYS[key] == (bool,))
        if not right or value in ([], {}):
            wanted = " or ".join(_WORDS[kind] for kind in _KEYS[key])
            raise UsageError(f"{key} is {value!r}; expected {wanted}.")
    missing = [key for key in _NEEDED if key not in content and not (
        key == "channels" and "units" in content
    )]
    if missing:
        raise UsageError(f"{', '.join(missing)} missing; every sweep says its {_all(_NEEDED)}.")
    channels = content.get("channels", [0, 1])
    if [type(n) for n in channels] != [int, int] or channels[0] >= channels[1]:
        raise UsageError(f"channels is {channels}; expected [A, B] for channels A to B - 1.")
    for unit in content.get("units", []):
        numbers = unit if isinstance(unit, list) else [unit]
        if [type(n) for n in numbers] not in ([int], [int] * 3):
            raise UsageError(f"units has {unit!r:.99}; expected C, or [C, ROW, COLUMN].")
    if min(content.get("channels_per_cell", 1), content.get("batch_size", 1)) < 1:
        raise UsageError("channels_per_cell and batch_size are 1 or more.")
    _require_names(content.get("noise", {}), ("kind", "scale"), "key of noise")
    _require_texts("generators", content.get("generators", []))
    own = {*GENERATORS, *content.get("generators", [])}
    _require_names(content.get("hessians", {}), own, "generator of hessians")
    _require_texts("hessians", list(content.get("hessians", {}).values()), once=False)
    for key, names in (("layers", content["nets"]), ("optimizers", own)):
        if isinstance(content.get(key), dict):
            _require_names(content[key], names, f"entry of {key}")
    for key in ("nets", "placements"):
        _require_texts(key, content.get(key, []))
    for key in ("layers", "optimizers"):
        value = content.get(key, [])
        for part in value.values() if isinstance(value, dict) else [value]:
            _require_texts(key, part)


_WORDS = {
    list: "a list that is not empty",
    dict: "a table that is not empty",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
}


def _require_names(given: Iterable[str], allowed: Iterable[str], what: str) -> None:
    allowed = list(allowed)
    for name in given:
        if name not in allowed:
            raise UsageError(choose_from(name, allowed, what))


def _require_texts(key: str, names: Any, once: bool = True) -> None:
    right = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not right or (once and len(set(names)) < len(names)):
        raise UsageError(f"{key} has {names!r:.99}; expected a list of texts, each there once.")


def _for(name: str, given: Any, key: str) -> list[str]:
    """Return what a table says of one net or generator; a plain list is said of all."""
    if isinstance(given, dict):
        if name not in given:
            raise UsageError(f"{key} says nothing of {name!r}; add it.")
        given = given[name]
    return list(given)


def _all(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}"


def _unit(given: int | list[int]) -> tuple[int, ...]:
    return tuple(given) if isinstance(given, list) else (given,)


def _part(whole: EvolutionSettings, start: int, end: int) -> EvolutionSettings:
    """Return the settings of some of the units, counted from the first."""
    if whole.units:
        return replace(whole, units=whole.units[start:end])
    first = whole.channels[0]
    return replace(whole, channels=(first + start, first + end))


def _folder(root: Path, settings: EvolutionSettings) -> Path:
    """Name a cell so that a reader knows it and no two share a name."""
    first, *place = settings.units[0] if settings.units else settings.channels[:1]
    unit = EvolvedUnit(settings.net, settings.layer, first, tuple(place))
    until = f"and{len(settings.units) - 1}" if settings.units else settings.channels[1] - 1
    digest = sha256(repr(settings).encode()).hexdigest()[:8]
    name = f"{unit.folder}-{until}_{settings.placement}_{settings.generators[0]}"
    return root / "cells" / f"{name[:LONGEST_NAME]}_{digest}"
