"""What the tables of a population must hold, by plain loops over trials (Methods; no code used).

`Site` goes through one element of a recording file, image by image and millisecond by millisecond;
`scipy.stats` gives Student tests.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import stats

from tests import paper_constants as paper


class Site:
    """One paired evolution of a recording file, every number by a loop."""

    def __init__(self, expi, element):
        self.expi = expi
        self.name = element["meta"]["ephysFN"]
        self.spaces = [space[0] for space in element["evol"]["space_names"]]
        self.channel = int(element["evol"]["pref_chan"][0])
        self.all_blocks = [
            [np.asarray(psth, dtype=float) for psth in thread] for thread in element["evol"]["psth"]
        ]
        self.all_references = [
            [np.asarray(psth, dtype=float) for psth in thread] for thread in element["ref"]["psth"]
        ]
        last = [thread[-1].shape[1] for thread in self.all_blocks]
        dropped = 1 if min(last) < paper.MIN_IMAGES_LAST_BLOCK else 0
        self.n_blocks = len(self.all_blocks[0]) - dropped
        self.blocks = [thread[: self.n_blocks] for thread in self.all_blocks]

    @property
    def area(self):
        """Area of the channel; Beto's array was wired anew after 2021-09-01."""
        date = self.name[9:13], self.name[7:9], self.name[5:7]
        if self.name.startswith("Beto") and date > ("2021", "09", "01"):
            return "V4" if self.channel <= 16 else "V1" if self.channel <= 32 else "IT"
        return "IT" if self.channel < 33 else "V1" if self.channel <= 48 else "V4"

    def rates(self, thread, block, window=paper.EVOKED_MS):
        """Mean rate of every image of a kept block."""
        return rates(self.blocks[thread][block], window)

    def means(self, thread, window=paper.EVOKED_MS):
        return [float(np.mean(self.rates(thread, b, window))) for b in range(self.n_blocks)]

    def sems(self, thread, window=paper.EVOKED_MS):
        found = [self.rates(thread, block, window) for block in range(self.n_blocks)]
        return [float(np.std(rates, ddof=1)) / len(rates) ** 0.5 for rates in found]

    @cached_property
    def normalizer(self):
        """Largest block mean of both threads."""
        return max(max(self.means(0)), max(self.means(1)))

    def psth(self, thread, block):
        """Mean over the images of a kept block, ms by ms."""
        shown = self.blocks[thread][block]
        return [sum(shown[ms]) / shown.shape[1] for ms in range(paper.PSTH_MS)]

    def late_psth(self, thread):
        """PSTH of block 55: real, or the mean of the last two blocks."""
        if self.n_blocks > paper.SHOWN_BLOCKS[1]:
            return self.psth(thread, paper.SHOWN_BLOCKS[1])
        one, two = self.psth(thread, self.n_blocks - 2), self.psth(thread, self.n_blocks - 1)
        return [(a + b) / 2 for a, b in zip(one, two, strict=True)]

    def best_block(self, thread):
        means = self.means(thread)
        return means.index(max(means))

    def fractions(self, thread, bin_ms):
        """Share of the rise from the first to the best block in every bin."""
        best = self.best_block(thread)
        rise = [
            b - a for a, b in zip(self.psth(thread, 0), self.psth(thread, best), strict=True)
        ]
        bins = [
            sum(rise[start : start + bin_ms]) / bin_ms
            for start in range(0, paper.PSTH_MS, bin_ms)
        ]
        return [b / sum(bins) if best else np.nan for b in bins]

    def pool(self, thread, blocks):
        """Rates of the images of some blocks together."""
        return np.concatenate([self.rates(thread, block) for block in blocks])

    @cached_property
    def tests(self):
        """The t and p of the eight published comparisons."""
        n, chosen = self.n_blocks, {}
        for thread in (0, 1):
            best = self.best_block(thread)
            if best >= n - 2:
                best = n - 3
            chosen[thread] = {"init": (0, 1), "max": (best, best + 1), "end": (n - 2, n - 1)}
        found = {}
        for first, second in (("end", "init"), ("max", "init"), ("max", "end")):
            for thread in (0, 1):
                pair = [self.pool(thread, chosen[thread][which]) for which in (first, second)]
                found[f"{first}{second}_{thread}"] = stats.ttest_ind(*pair)
        for which in ("end", "max"):
            pair = [self.pool(thread, chosen[thread][which]) for thread in (0, 1)]
            found[f"FCBG_{which}_01"] = stats.ttest_ind(*pair)
        return {
            **{f"t_{name}": float(result.statistic) for name, result in found.items()},
            **{f"p_{name}": float(result.pvalue) for name, result in found.items()},
        }

    @cached_property
    def activations(self):
        """Mean, SD (ddof 0) and SEM (ddof 1) of the best, last and first block of each thread."""
        found = {}
        for thread in (0, 1):
            blocks = [rates(psth, paper.EVOKED_MS) for psth in self.all_blocks[thread]]
            if len(blocks[-1]) < paper.MIN_IMAGES_LAST_BLOCK:  # each thread on its own
                blocks.pop()
            means = [np.mean(block) for block in blocks]
            chosen = {"max": means.index(max(means)), "end": len(blocks) - 1, "init": 0}
            for name, block in chosen.items():
                found[f"{name}rsp_{thread}_mean"] = np.mean(blocks[block])
                found[f"{name}rsp_{thread}_std"] = np.std(blocks[block])
                found[f"{name}rsp_{thread}_sem"] = stats.sem(blocks[block])
        return found

    @cached_property
    def time_constants(self):
        """Counts of blocks for the three baselines."""
        found = {}
        for thread, prefix in enumerate(paper.PREFIXES):
            means = self.means(thread)
            spontaneous = np.mean(self.means(thread, paper.BASELINE_MS))
            for suffix, baseline in (("", spontaneous), ("_bsl0", 0), ("_bslinit", means[0])):
                rises = [mean - baseline for mean in means]
                threshold = paper.RISE_FRACTION * max(rises)
                above = [block for block, rise in enumerate(rises) if rise > threshold]
                found[f"{prefix}_tc0{suffix}"] = above[0] if above else 0
                found[f"{prefix}_tc_cnt{suffix}"] = sum(rise < threshold for rise in rises)
        return found

    @property
    def valid(self):
        return (
            self.n_blocks > paper.TOO_SHORT_BLOCKS
            and self.spaces[0] == "fc6"
            and "BigGAN" in self.spaces[1]
            and self.name not in paper.UNSTABLE_BASELINE
        )

    def succeeds(self, thread, p_below):
        """Whether a thread counts as successful in the masks; the sign of t is not asked for."""
        return self.tests[f"p_maxinit_{thread}"] < p_below

    def response_differences(self):
        """Differences of the two best PSTHs over the normaliser, 50 to 200 ms."""
        start, stop = paper.EVOKED_MS
        pair = [
            np.array(self.psth(thread, self.best_block(thread)))[start:stop] / self.normalizer
            for thread in (0, 1)
        ]
        width = paper.SMOOTHING_MS
        smooth = [
            np.array([np.mean(p[i : i + width]) for i in range(len(p) - width + 1)]) for p in pair
        ]
        found = {"act_MAE": abs(np.mean(pair[0]) - np.mean(pair[1])), "normalizer": self.normalizer}
        for suffix, (first, second) in (("", pair), ("_smooth", smooth)):
            found[f"psth_MAE{suffix}"] = np.mean(np.abs(first - second))
            found[f"psth_MSE{suffix}"] = np.mean((first - second) ** 2)
            found[f"psth_corr{suffix}"] = stats.pearsonr(first, second).statistic
        return found


def sites(elements):
    """Return the sites of a recording file, ascending."""
    return [Site(i + 1, e) for i, e in enumerate(elements) if e["evol"] is not None]


def rates(psth, window):
    """Mean rate of every image of a block in a window, events/s."""
    start, stop = window
    return psth[start:stop].mean(axis=0)


def padded(values):
    """Repeat the mean of the last two blocks up to 56."""
    filling = (values[-2] + values[-1]) / 2
    return values + [filling] * (paper.PADDED_BLOCKS - len(values))
