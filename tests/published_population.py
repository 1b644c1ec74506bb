"""Published numbers that the simulated population is compared with, in tests and benchmarks."""

from __future__ import annotations

from core.spaces import Space

#: Figure 4A: successes in V1, V4, IT (p < 0.01 and t > 0); Figure 4C: experiments in which both
#: threads climb (p < 0.05).
PUBLISHED_4A = {Space.DEEPSIM: [10, 37, 67], Space.BIGGAN: [0, 20, 65]}
PUBLISHED_BOTH = [2, 24, 61]

#: Figure 4B: paired t of DeePSim against BigGAN in the first and in the last block.
PUBLISHED_4B = {"V1": (-3.491, 4.651), "V4": (-4.250, 5.985), "IT": (-7.318, -1.408)}

#: Figure 4D: mean blocks to 0.8 of the rise (read from the published picture).
PUBLISHED_4D = {
    ("V1", Space.DEEPSIM): 10.1,
    ("V4", Space.DEEPSIM): 14.3,
    ("IT", Space.DEEPSIM): 22.1,
    ("V4", Space.BIGGAN): 17.0,
    ("IT", Space.BIGGAN): 16.7,
}

#: Figure 4C at blocks 0, 5, 10, 20, 30, 40 (read from the published picture), DeePSim and BigGAN.
SHOWN_BLOCKS = [0, 5, 10, 20, 30, 40]
PUBLISHED_4C = {
    "V1": [[0.70, 0.88, 0.95, 0.96, 0.95, 0.95], [0.72, 0.75, 0.77, 0.80, 0.81, 0.81]],
    "V4": [[0.54, 0.74, 0.80, 0.89, 0.90, 0.91], [0.61, 0.65, 0.69, 0.78, 0.78, 0.79]],
    "IT": [[0.51, 0.57, 0.64, 0.75, 0.81, 0.82], [0.60, 0.67, 0.71, 0.77, 0.81, 0.82]],
}

#: Shares of 50-100, 100-150, 150-200 ms (Extended Figure 4B, 50-ms bins).
PUBLISHED_EXT4B = {
    ("V1", Space.DEEPSIM): [0.426, 0.430, 0.147],
    ("V4", Space.DEEPSIM): [0.380, 0.394, 0.238],
    ("V4", Space.BIGGAN): [0.280, 0.420, 0.318],
    ("IT", Space.DEEPSIM): [0.284, 0.415, 0.325],
    ("IT", Space.BIGGAN): [0.198, 0.500, 0.328],
}

#: Normalised mean PSTHs of Figure 5A: block, area, space → {ms: value}, read from the picture.
PUBLISHED_5A = {
    (0, "V1", Space.DEEPSIM): {20: 0.287, 70: 0.850, 90: 0.690, 130: 0.593, 180: 0.498},
    (0, "V1", Space.BIGGAN): {20: 0.231, 70: 0.921, 90: 0.998, 130: 0.738, 180: 0.558},
    (0, "V4", Space.DEEPSIM): {40: 0.213, 80: 0.639, 110: 0.662, 150: 0.539, 180: 0.486},
    (0, "V4", Space.BIGGAN): {20: 0.181, 80: 0.784, 110: 0.725, 150: 0.593, 180: 0.549},
    (0, "IT", Space.DEEPSIM): {110: 0.625, 150: 0.579, 180: 0.565},
    (0, "IT", Space.BIGGAN): {20: 0.273, 80: 0.446, 110: 0.722, 150: 0.743, 180: 0.738},
    (55, "V1", Space.DEEPSIM): {50: 0.429, 80: 1.403, 110: 1.118, 150: 0.863, 180: 0.634},
    (55, "V1", Space.BIGGAN): {20: 0.262, 80: 1.011, 110: 0.799, 150: 0.755, 180: 0.579},
    (55, "V4", Space.DEEPSIM): {50: 0.321, 80: 1.164, 110: 1.125, 150: 0.905, 180: 0.722},
    (55, "V4", Space.BIGGAN): {20: 0.194, 80: 0.881, 110: 0.873, 150: 0.782, 180: 0.671},
    (55, "IT", Space.DEEPSIM): {50: 0.296, 80: 0.739, 110: 0.956, 150: 0.847, 180: 0.738},
    (55, "IT", Space.BIGGAN): {20: 0.273, 80: 0.597, 110: 1.039, 150: 0.914, 180: 0.956},
}
