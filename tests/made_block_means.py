"""Small made block means, in the layout of the published ones, from spikes that the test knows.

The kernel is typed in from what one recorded spike adds to a spike-density function.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro_data_analysis.experiment_list import listed_info

#: Events/s that one spike adds 0, 1, … 6 ms away.
ONE_SPIKE = (199.4711, 176.0327, 120.9854, 64.7588, 26.9955, 8.7642, 2.2159)
PRECISE = 1000 / (2 * np.sqrt(2 * np.pi)) * np.exp(-(np.arange(-6, 7) ** 2) / 8)


def spikes_of(rng, rate, n_images):
    """Draw Poisson spikes at events/s per ms: (n_images, 212), ms −6 … 205."""
    return rng.poisson(np.broadcast_to(rate, 212) / 1000, size=(n_images, 212))


def density(spikes, kernel=PRECISE):
    """Convolve each row: (…, 212) spikes to (…, 200) events/s."""
    return np.apply_along_axis(lambda row: np.convolve(row, kernel, "valid"), -1, spikes)


def published(spikes, kernel=PRECISE):
    """Mean PSTH of some images as it would be published."""
    return density(spikes, kernel).mean(axis=0).round(2)


@dataclass
class Made:
    """What a folder of block means was made of: spikes by (Expi, thread, block)."""

    folder: Path
    spikes: dict


def make(folder, rng, expis=(6, 155), n_blocks=4, sizes=(30, 25), rate=60):
    """Write block means of some experiments of the list; `rate` in events/s grows by a third."""
    made, rows = Made(Path(folder), {}), []
    for expi in expis:
        info = listed_info(expi)
        name = f"Exp{expi:03d}-{info.session.animal[0]}"
        blocks = [
            [spikes_of(rng, rate * (1 + block / 3), sizes[thread]) for block in range(n_blocks)]
            for thread in (0, 1)
        ]
        trajectory = [{"gen": b + 1} for b in range(n_blocks)]
        for thread, space in enumerate(("deepsim", "biggan")):
            for block, spikes in enumerate(blocks[thread]):
                made.spikes[expi, thread, block] = spikes
                trials = density(spikes)
                trajectory[block] |= _moments(space, trials[:, 50:].mean(axis=1))
                trajectory[block] |= _moments(f"ref_{space}", rng.normal(80, 9, size=10))
                _write(made.folder / name / f"gen_{block + 1:02d}" / f"{space}_psth.json", trials)
        row = _meta(name, info, trajectory)
        rows.append(row)
        _json(made.folder / name / "meta.json", row)
        _json(made.folder / name / "evol_traj.json", trajectory)
        _json(made.folder / name / "summary_stats.json", _summary(name, trajectory))
    _json(made.folder / "experiments.json", rows)
    return made


def _moments(name, values):
    mean, sem = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    ends = (("", 0), ("_low", -sem), ("_high", sem))
    return {f"{name}{end}": round(float(mean + by), 2) for end, by in ends}


def _write(path, trials):
    sem = trials.std(axis=0, ddof=1) / np.sqrt(len(trials))
    content = {
        "time_ms": [float(t) for t in range(200)],
        "mean_rate": trials.mean(axis=0).round(2).tolist(),
        "sem": sem.round(2).tolist(),
        "trial_rates": [],
        "evoked_rate": round(float(trials[:, 50:].mean()), 1),
        "n_trials": 0,
    }
    _json(path, content)


def _meta(name, info, trajectory):
    x, y = info.position_deg.tolist()
    return {
        "id": name,
        "animal": name[-1],
        "unit": f"Ch{info.pref_channel}U{info.pref_unit}",
        "area": info.area,
        "date": info.session.date.isoformat(),
        "num_generations": len(trajectory),
        "deepsim_max_rate": round(max(b["deepsim"] for b in trajectory), 1),
        "biggan_max_rate": round(max(b["biggan"] for b in trajectory), 1),
        "tags": [],
        "thread0_space": info.spaces[0],
        "thread1_space": info.spaces[1],
        "image_size_deg": info.image_size_deg.tolist(),
        "image_pos_deg": [x, y, x, y],
    }


def _summary(name, trajectory):
    content = {"id": name, "num_generations": len(trajectory)}
    for space in ("deepsim", "biggan"):
        first, last = trajectory[0][space], trajectory[-1][space]
        content |= {
            f"{space}_final_rate": round(last, 1),
            f"{space}_rate_increase": round(last - first, 1),
        }
    return content


def _json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
