"""The evolution tables once more, from the specification, with numpy alone.

Plain loops over trials and blocks, no code shared with the product: what both compute alike is
right or was misread twice. Threads are 0 (DeePSim) and 1 (BigGAN); blocks are lists of
(200 ms, n images) arrays.
"""

from __future__ import annotations

import numpy as np

#: Nodes and weights of a quadrature that is exact for all that is integrated here.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


class Evolution:
    """One experiment: what it was (a dict of meta columns) and its blocks by thread."""

    def __init__(self, meta, blocks):
        self.meta, self.all_blocks = meta, blocks
        n = min(len(thread) for thread in blocks)
        too_small = any(thread[n - 1].shape[1] < 10 for thread in blocks)
        self.n = n - 1 if too_small else n
        self.blocks = [thread[: self.n] for thread in blocks]
        self.resp = [[b[50:200].mean(axis=0) for b in thread] for thread in self.blocks]
        self.mean = np.array([[r.mean() for r in thread] for thread in self.resp])
        self.normalizer = self.mean.max()
        self.tests, self.activations = self._tests(), self._activations()
        self.psth = np.array([[b.mean(axis=1) for b in thread] for thread in self.blocks])
        self.time_constants = self._time_constants()

    def window(self, start, stop):
        """Means and SEM of one window: 4 slices of n blocks."""
        means, sems = [], []
        for thread in self.blocks:
            trials = [b[start:stop].mean(axis=0) for b in thread]
            means.append([x.mean() for x in trials])
            sems.append([sem(x) for x in trials])
        return np.array(means + sems)

    def _tests(self):
        """Student tests by name: t and two-sided p."""
        groups = {}
        for thread, resp in enumerate(self.resp):
            m = int(np.argmax(self.mean[thread]))
            if m >= self.n - 2:
                m = self.n - 3
            groups |= {
                ("init", thread): np.concatenate([resp[0], resp[1]]),
                ("max", thread): np.concatenate([resp[m], resp[m + 1]]),
                ("end", thread): np.concatenate([resp[-2], resp[-1]]),
            }
        found = {}
        for thread in (0, 1):
            for first, second in (("end", "init"), ("max", "init"), ("max", "end")):
                found[f"{first}{second}_{thread}"] = t_test(
                    groups[first, thread], groups[second, thread]
                )
        for name in ("end", "max"):
            found[f"FCBG_{name}_01"] = t_test(groups[name, 0], groups[name, 1])
        return found

    def _activations(self):
        """Best, last and first block of each thread, the last-block rule thread by thread."""
        found = {}
        for thread, blocks in enumerate(self.all_blocks):
            kept = blocks if blocks[-1].shape[1] >= 10 else blocks[:-1]
            resp = [b[50:200].mean(axis=0) for b in kept]
            best = int(np.argmax([r.mean() for r in resp]))
            for name, r in (("max", resp[best]), ("end", resp[-1]), ("init", resp[0])):
                key = f"{name}rsp_{thread}"
                spread = np.sqrt(((r - r.mean()) ** 2).mean())
                found |= {f"{key}_mean": r.mean(), f"{key}_std": spread, f"{key}_sem": sem(r)}
        return found

    def _time_constants(self):
        """Count the blocks to 0.8 of the largest rise, six ways per thread."""
        found = {}
        for thread, space in enumerate(("FC", "BG")):
            rate = self.mean[thread]
            rest = np.mean([b[0:45].mean() for b in self.blocks[thread]])
            for suffix, base in (("", rest), ("_bsl0", 0.0), ("_bslinit", rate[0])):
                y = rate - base
                threshold = 0.8 * max(y)
                above = [i for i, value in enumerate(y) if value > threshold]
                found[f"{space}_tc0{suffix}"] = above[0] if above else 0
                found[f"{space}_tc_cnt{suffix}"] = sum(value < threshold for value in y)
        return found

    def fractions(self, width):
        """Shares of the rise of the best over the first block, by thread and bin."""
        found = []
        for psths in self.psth:
            best = int(np.argmax([p[50:200].mean() for p in psths]))
            rise = psths[best] - psths[0]
            bins = np.array([rise[i : i + width].mean() for i in range(0, 200, width)])
            found.append(bins / bins.sum() if best else np.full(len(bins), np.nan))
        return np.array(found)


def sem(x):
    """Return the standard error with n − 1 in the variance."""
    n = len(x)
    return np.sqrt(((x - x.mean()) ** 2).sum() / (n - 1) / n) if n > 1 else np.nan


def t_test(a, b):
    """Pooled Student test: t, two-sided p."""
    n, m = len(a), len(b)
    within = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    t = (a.mean() - b.mean()) / np.sqrt(within / (n + m - 2) * (1 / n + 1 / m))
    return t, t_tail(t, n + m - 2)


def paired_t_test(a, b):
    """Paired Student test: t, two-sided p."""
    d = a - b
    t = d.mean() / sem(d)
    return t, t_tail(t, len(d) - 1)


def t_tail(t, df):
    """P(|T| > t): with t = √df tan θ the density is proportional to cos^(df−1) θ."""
    start = np.arctan(abs(t) / np.sqrt(df))

    def integral(low):
        half = (np.pi / 2 - low) / 2
        return half * (WEIGHTS * np.cos(low + half * (NODES + 1)) ** (df - 1)).sum()

    return integral(start) / integral(0.0)


def beta_cdf(x, k, n):
    """Posterior probability below x after k successes in n, uniform prior; exact by quadrature."""

    def integral(stop):
        u = stop / 2 * (NODES + 1)
        return stop / 2 * (WEIGHTS * u**k * (1 - u) ** (n - k)).sum()

    return integral(x) / integral(1.0)


def padded(values, length):
    """Blocks along the first axis, continued by the mean of the last two."""
    rows = list(values)
    tail = (rows[-2] + rows[-1]) / 2
    return np.array(rows + [tail] * (length - len(rows)))


def valid(evolution):
    """More than 14 blocks, fc6 against BigGAN, not one of the six with an unstable baseline."""
    meta = evolution.meta
    unstable = {
        "Beto-18082020-002", "Beto-07092020-006", "Beto-14092020-002", "Beto-27102020-003",
        "Alfa-04092020-003", "Alfa-22092020-003",
    }  # fmt: skip
    pair = meta["space1"] == "fc6" and "BigGAN" in meta["space2"]
    return evolution.n > 14 and pair and meta["ephysFN"] not in unstable


def masks(evolution):
    """Return the fourteen columns of the mask tables."""
    tests, found = evolution.tests, {"valid": valid(evolution)}
    for level, limit in (("005", 0.05), ("001", 0.01)):
        fc, bg = (tests[f"maxinit_{thread}"][1] < limit for thread in (0, 1))
        found |= {
            f"FCsucc{level}": fc, f"BGsucc{level}": bg, f"bothsucc{level}": fc and bg,
            f"nonesucc{level}": not (fc or bg), f"anysucc{level}": fc or bg,
        }  # fmt: skip
    for area in ("V1", "V4", "IT"):
        found[f"{area}msk"] = evolution.meta["visual_area"] == area
    return found
