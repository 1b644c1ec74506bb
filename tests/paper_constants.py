"""Constants of the paper and of its published tables, typed as facts; no code imports them.

Tests take their oracles from here, never from the constants of the code that they examine.
"""

from __future__ import annotations

#: Spike densities cover 200 ms from image onset in bins of 1 ms (Methods, recordings).
PSTH_MS = 200

#: Evoked response and baseline of a trial, ms from image onset, stop excluded (Methods).
EVOKED_MS = (50, 200)
BASELINE_MS = (0, 45)

#: The last block counts if both threads show at least so many images in it.
MIN_IMAGES_LAST_BLOCK = 10

#: Evolutions of so many blocks or fewer are too short.
TOO_SHORT_BLOCKS = 14

#: The longest published session; all others are padded to it.
PADDED_BLOCKS = 56

#: Blocks whose PSTHs Figure 5A shows.
SHOWN_BLOCKS = (0, 55)

#: Sessions excluded for an unstable baseline.
UNSTABLE_BASELINE = {
    "Beto-18082020-002",
    "Beto-07092020-006",
    "Beto-14092020-002",
    "Beto-27102020-003",
    "Alfa-04092020-003",
    "Alfa-22092020-003",
}

#: Visual areas in the order of the hierarchy.
AREAS = ("V1", "V4", "IT")

#: Thread 0 evolves in DeePSim (tables call it FC), thread 1 in BigGAN (BG).
SPACES = ("DeePSim", "BigGAN")
PREFIXES = ("FC", "BG")

#: Levels of success: in masks, 4B, 4C, 5A, 5C; and in 4A, 4D, Extended 4B. Names in columns.
P_LEVELS = {"005": 0.05, "001": 0.01}

#: Share of the largest rise that ends a climb (Figure 4D).
RISE_FRACTION = 0.8

#: Coverage of the intervals of Figure 4A.
CREDIBLE = 0.9

#: False-discovery rate of the dots of Figure 5C and Extended Figure 4.
FDR = 0.05

#: Bins of Extended Figure 4B, ms.
BINS_MS = (5, 10, 20, 25, 50)

#: Windows of Figure 5C and of Extended Figure 4C: (start, stop) ms.
WINDOWS_5C = tuple((start, start + 10) for start in range(0, 200, 10))
WINDOWS_EXT4C = tuple(
    (start, start + width) for width in (10, 20, 25, 50) for start in range(0, 200, width)
)

#: Pure blue and pure red (all figures).
COLOURS = {"DeePSim": "#0000ff", "BigGAN": "#ff0000"}

#: Example of Figure 2.
EXAMPLE_EXPI = 155

#: Mean and standard deviation of ImageNet, red, green and blue, as torchvision documents them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)

#: Boxcar of the smoothed differences of PSTHs (Figure 3), ms.
SMOOTHING_MS = 25

#: Groups of evolutions of Figure 6, by whether the BigGAN thread succeeded.
FIGURE6_GROUPS = {"successful": True, "non_successful": False}

#: Grid of Extended Figure 5C: dimensions, depths and seeds of the RealNVPs.
REALNVP_DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256)
REALNVP_DEPTHS = (0, 2, 4, 8, 16, 32, 48, 64)
REALNVP_SEEDS = (40, 41, 42, 43, 44, 45, 46, 47, 48, 49)

#: CaffeNet as Extended Figures 5D and 5E predict it: (layer, its place in the network, units).
CAFFENET_LAYERS = (
    ("conv1", 0, 96), ("relu1", 1, 96), ("pool1", 2, 96), ("norm1", 3, 96),
    ("conv2", 4, 256), ("relu2", 5, 256), ("pool2", 6, 256), ("norm2", 7, 256),
    ("conv3", 8, 384), ("relu3", 9, 384), ("conv4", 10, 384), ("relu4", 11, 384),
    ("conv5", 12, 256), ("relu5", 13, 256), ("pool5", 14, 256),
    ("fc6", 16, 4096), ("relu6", 17, 4096), ("fc7", 18, 4096), ("relu7", 19, 4096),
    ("fc8", 20, 1000),
)  # fmt: skip
RELU_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7")

#: R² of Extended Figures 5D and 5E, the whole code first; correlations are means of 100 draws.
LINEARITY_METRICS = {
    "BigGAN": ("Test_R2", "Test_R2_class", "Test_R2_noise"),
    "DeePSim": ("Test_R2", "Test_R2_top_Hess512", "Test_R2_null_Hess512"),
}
LINEARITY_DRAWS = 100

#: Ridge penalties between which cross-validation chooses: 1e-6 to 1e6, and 1e-3 to 1e12.
RIDGE_ALPHAS = {
    "BigGAN": tuple(10.0**power for power in range(-6, 7)),
    "DeePSim": tuple(10.0 ** (-3 + 15 * step / 99) for step in range(100)),
}
