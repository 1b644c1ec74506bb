"""Feed damaged files to every reader, for a bounded time: out comes data, or one sentence.

``python -m benchmarks.safety.fuzz --seconds 60 [--inputs 1000] [--target NAME]``. Valid samples of
`fuzz_targets` are damaged byte by byte or value by value, the same in every run of one seed. A
target ends with its share of the inputs or of the time, and leaves the rest of its time to those
after it. Anything but success or a `UserError` is a finding: it is made small, printed, and
its files are kept. Every target runs in a process of its own, as C libraries may crash; its inputs
are counted.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.safety.fuzz"))

import argparse
import copy
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.safety.fuzz_targets import TARGETS, Target
from core.errors import UserError

#: No reader may take longer over one damaged file, or more memory than 2 GB beside the libraries.
LONGEST_READ_S = 20
MOST_MEMORY_BYTES = 6 << 30

#: Most edits of one input.
MOST_EDITS = 5

#: What damaged text and binary files like to hold.
TOKENS = (
    b"", b"\n", b",", b'"', b"\x00", b"\xff\xfe", b"nan", b"NaN", b"inf", b"-", b"1e999", b"9" * 40,
    b"True", b"{", b"[", b"}", b"]", b":", b"null", b"\\u0000", b"..", b"/", b"\xf0\x9f\x90\x92",
    b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"(", b".", b"e", b" ", b"\r", b"\t", b"#",
)  # fmt: skip

#: What stands where something else should.
ODD_VALUES: tuple[Any, ...] = (
    None, "", "x", "\x00", 0, -1, 2**40, 10**30, 1.5, float("nan"), float("inf"), True, b"x", 1j,
    [], {}, [[]], [None], ["a", "b"], {"a": 1}, [[1, 2], [3]], (), np.zeros(0), np.zeros((0, 3)),
    np.zeros((3, 3)), np.zeros((2, 2, 2)), np.full(3, np.nan), np.array(["a"], dtype=object),
    np.array([0, 0], dtype=np.uint64), np.array([1 + 2j]), np.array("text"), np.float32(2.5),
    np.array([[None, None]], dtype=object), pd.DataFrame({"a": [1]}),
)  # fmt: skip

_GONE = object()
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export")
_OUR_PACKAGES = tuple(str(_ROOT / package) for package in _PACKAGES)


@dataclass(frozen=True)
class Damage:
    """A sample, by its number, and what is done to it.

    Attributes
    ----------
    sample : int
    edits : tuple of tuples
        Of bytes: file, kind, place from 0 to 1, token. Of values: place, new value.
    """

    sample: int
    edits: tuple[tuple[Any, ...], ...]

    def of(self, samples: Sequence[Any]) -> Any:
        """Return the damaged sample."""
        sample = samples[self.sample]
        if not (isinstance(sample, dict) and all(type(v) is bytes for v in sample.values())):
            return _with_odd_values(sample, self.edits)
        files = dict(sample)
        for number, kind, place, token in self.edits:
            name = list(files)[number % len(files)]
            files[name] = _edited(files[name], kind, place, token)
        return files


def damages(samples: Sequence[Any], seed: int, of_values: bool) -> Iterator[Damage]:
    """Draw damages without an end."""
    rng = random.Random(seed)
    edit = _value_edit if of_values else _byte_edit
    while True:
        edits = tuple(edit(rng) for _ in range(rng.randint(0, MOST_EDITS)))
        yield Damage(rng.randrange(len(samples)), edits)


def _byte_edit(rng: random.Random) -> tuple[Any, ...]:
    token = rng.choice(TOKENS) if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 12))
    return rng.randrange(20), rng.choice(tuple(_EDITS)), rng.random(), token


def _value_edit(rng: random.Random) -> tuple[Any, ...]:
    return rng.randrange(10_000), _GONE if rng.random() < 0.2 else rng.choice(ODD_VALUES)


_EDITS = {
    "replace": lambda c, at, token: c[:at] + token + c[at + len(token) :],
    "insert": lambda c, at, token: c[:at] + token + c[at:],
    "delete": lambda c, at, token: c[:at] + c[at + 8 * len(token) + 1 :],
    "cut": lambda c, at, token: c[:at],
    "repeat": lambda c, at, token: c[:at] + c[at : at + 40] * (len(token) + 1) + c[at:],
    "flip": lambda c, at, token: (
        c[:at] + bytes(b ^ (1 << len(token) % 8) for b in c[at : at + 1]) + c[at + 1 :]
    ),
}


def _edited(content: bytes, kind: str, place: float, token: bytes) -> bytes:
    return _EDITS[kind](content, int(place * len(content)), token)


def _with_odd_values(sample: Any, edits: Sequence[tuple[int, Any]]) -> Any:
    changed = copy.deepcopy(sample)
    for number, value in edits:
        places = list(_places(changed))
        if places:
            container, key = places[number % len(places)]
            if value is not _GONE:
                container[key] = copy.deepcopy(value)
            elif not isinstance(container, np.ndarray):
                del container[key]
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Go through every (container, key) of a nested structure."""
    if isinstance(value, dict):
        keys: Any = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    elif isinstance(value, np.ndarray) and value.dtype == object:
        keys = list(np.ndindex(value.shape))
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])


@dataclass
class Tally:
    """What came of the inputs of one target."""

    inputs: int = 0
    read: int = 0
    refused: int = 0


def outcome_of(target: Target, content: Any, folder: Path) -> str:
    """Read one input in an emptied folder: "read", "refused", or which error came from where."""
    _empty(folder)
    try:
        target.read(content, folder)
    except UserError:
        return "refused"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if f.filename.startswith(_OUR_PACKAGES)] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {where}: {error!s:.200}"
    return "read"


def _empty(folder: Path) -> None:
    try:
        left = os.scandir(folder)
    except FileNotFoundError:
        folder.mkdir(parents=True)
        return
    with left:
        for entry in left:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            else:
                Path(entry).unlink()


@contextmanager
def strict() -> Iterator[None]:
    """Make errors of warnings, and of reading that takes too long.

    What a C library never comes back from ends the process, after twice that time.
    """

    def too_slow(*_: Any) -> None:
        raise TimeoutError(f"reading took more than {LONGEST_READ_S} s")

    signal.signal(signal.SIGALRM, too_slow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def run_target(
    target: Target, folder: Path, seed: int, seconds: float = np.inf, most: float = np.inf
) -> tuple[Tally, list[str]]:
    """Feed one target until the time is over, or so many inputs; return findings too."""
    tally, findings, known = Tally(), list[str](), set[str]()
    samples = target.samples()
    ends = time.monotonic() + seconds
    with strict():
        for damage in damages(samples, seed, target.of_values):
            if tally.inputs >= most or time.monotonic() > ends:
                return tally, findings
            tally.inputs += 1
            signal.alarm(LONGEST_READ_S)
            signal.setitimer(signal.ITIMER_PROF, 2 * LONGEST_READ_S)
            outcome = outcome_of(target, damage.of(samples), folder)
            signal.alarm(0)
            tally.read += outcome == "read"
            tally.refused += outcome == "refused"
            if outcome not in ("read", "refused") and _place(outcome) not in known:
                known.add(_place(outcome))
                small = _made_small(target, samples, damage, folder, _place(outcome))
                findings.append(f"{target.name}: {outcome} {small}")
                shutil.copytree(folder, folder.with_name(f"finding{len(known)}"))
    raise AssertionError


def _place(outcome: str) -> str:
    return outcome.partition(": ")[0]


def _made_small(
    target: Target, samples: Sequence[Any], damage: Damage, folder: Path, place: str
) -> Damage:
    """Leave out edits that the error does not need; its input stays in the folder."""
    for edit in damage.edits:
        fewer = Damage(damage.sample, tuple(e for e in damage.edits if e is not edit))
        if _place(outcome_of(target, fewer.of(samples), folder)) == place:
            damage = fewer
    outcome_of(target, damage.of(samples), folder)
    return damage


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: 0 nothing found, 1 something."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all (default: 60)")
    parser.add_argument("--inputs", type=float, default=np.inf, help="of each reader, at most")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this")
    parser.add_argument("--seed", type=int, default=0, help="of the first input (default: 0)")
    options = parser.parse_args(arguments)
    targets = [TARGETS[name] for name in options.target or TARGETS]
    keep, ends, done = _scratch(), time.monotonic() + options.seconds, []
    for number, target in enumerate(targets):
        share = (ends - time.monotonic()) / (len(targets) - number)
        done.append(watch(target, share, options.inputs, options.seed, keep))
    print(f"{sum(n for n, _ in done)} inputs; the files of every finding are in {keep}")
    return int(any(found for _, found in done))


def _scratch() -> Path:
    """Make a folder, in memory where that can be: millions of files are written."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))


def watch(
    target: Target, seconds: float, most: float, seed: int, keep: Path
) -> tuple[int, bool]:
    """Run a target in processes of its own until its share is done; return inputs, findings.

    A process that a C library brings down leaves its last input behind.
    """
    context = multiprocessing.get_context("fork")
    ends, tally, findings = time.monotonic() + seconds, Tally(), list[str]()
    for attempt in itertools.count():
        left = ends - time.monotonic()
        if tally.inputs >= most or (attempt and left < max(1, seconds / 10)):
            break
        folder = keep / f"{target.name.replace(' ', '_')}{attempt}" / "input"
        answers, told = context.Pipe(duplex=False)
        given = (told, target, folder, seed + attempt, left, most - tally.inputs)
        process = context.Process(target=_work, args=given)
        process.start()
        told.close()
        try:
            more, found = answers.recv()
            tally = Tally(*(one + two for one, two in zip(astuple(tally), more, strict=True)))
            findings += found
        except EOFError:
            process.join()
            findings.append(f"{target.name}: the process ended with {process.exitcode}, {folder}")
        process.join()
    print(f"{target.name:18} {tally.inputs:7} inputs {tally.read:7} read {tally.refused:7} refused")
    print("".join(f"  FINDING {line}\n" for line in findings), end="", flush=True)
    return tally.inputs, bool(findings)


def _work(
    told: Any, target: Target, folder: Path, seed: int, seconds: float, most: float
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    tally, findings = run_target(target, folder, seed, seconds, most)
    told.send((astuple(tally), findings))
