"""What the pictures show of the numbers: colours of the spaces, and dots where blocks differ.

The pictures and the numbers come from the same command; positions are looked up in the numbers.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests import golden
from tests import paper_constants as paper

WINDOW_PICTURES = [
    ("Figure5", "5C", "5C", 10, ""),
    *[
        ("FigureExt4", "Ext4C", f"Ext4C_{width}ms_{level}", width, f"_{level}")
        for width in (10, 20, 25, 50)
        for level in ("p05", "p01")
    ],
]


@pytest.fixture
def told(golden_figures):
    """Return figure, panel → name of statistic → value."""
    statistics, _ = golden_figures
    return lambda figure, panel: golden.by_name(statistics[figure])[panel]


@pytest.fixture
def drawn(golden_figures):
    _, pictures = golden_figures
    return lambda name: pictures[name]


def lines_of(axes, space):
    """Return the lines and dots in the colour of a space."""
    return [line for line in axes.lines if to_hex(line.get_color()) == paper.COLOURS[space]]


def dots(axes, space):
    """Return how often a dot of a space lies at each x."""
    lines = [line for line in lines_of(axes, space) if line.get_linestyle() == "None"]
    return Counter(float(x) for line in lines for x in line.get_xdata())


def mean_curve(axes, space):
    """Return x → y of the thick lines of a space; single experiments are thin."""
    lines = [line for line in lines_of(axes, space) if line.get_linewidth() > 0.5]
    points = [zip(line.get_xdata(), line.get_ydata(), strict=True) for line in lines]
    return {float(x): float(y) for line in points for x, y in line if np.isfinite(y)}


@pytest.mark.parametrize(
    ("figure", "panel", "picture", "width", "level"), WINDOW_PICTURES,
    ids=[picture[2] for picture in WINDOW_PICTURES],
)  # fmt: skip
def test_dots_of_windows_lie_where_the_space_of_their_colour_is_larger(
    told, drawn, figure, panel, picture, width, level
):
    """The title of a window stands over its middle block; blocks beyond 45 are not shown."""
    numbers = told(figure, panel)
    titles = iter(
        (axes, text)
        for axes in drawn(picture).axes
        for text in axes.texts
        if text.get_text().endswith(" ms")
    )
    n_dots = 0
    for area in ("V4", "IT"):
        for start in range(0, 200, width):
            axes, title = next(titles)
            assert axes.get_ylabel().startswith(area)
            assert title.get_text() == f"{start}–{start + width} ms"
            first = title.get_position()[0] - 22.5
            for space in paper.SPACES:
                name = f"blocks where larger, {start}-{start + width} ms{level} | {area} | {space}"
                expected = [block for block in numbers[name] if block <= 45]
                here = [x - first for x in dots(axes, space) if -0.5 <= x - first <= 45.5]
                assert sorted(here) == expected, name
                n_dots += len(expected)
    assert n_dots > 0
    assert next(titles, None) is None


def test_dots_of_windows_agree_with_the_means(told):
    """Where DeePSim is said to be larger its mean is the larger one, and the other way round."""
    numbers, seen = told("Figure5", "5C"), set()
    for name, blocks in numbers.items():
        if name.startswith("blocks where larger"):
            space = name.split(" | ")[-1]
            other = paper.SPACES[1 - paper.SPACES.index(space)]
            means = name.replace("blocks where larger", "mean_by_block")
            one = np.array(numbers[means])[blocks]
            two = np.array(numbers[means.replace(f"| {space}", f"| {other}")])[blocks]
            assert (one > two).all(), name
            seen |= {space} if blocks else set()
    assert seen == set(paper.SPACES)


@pytest.mark.parametrize("bin_ms", paper.BINS_MS)
def test_dots_of_shares_have_the_colour_of_the_larger_share(told, drawn, bin_ms):
    """One dot for P < 0.05, another where the correction leaves it; t > 0 is blue."""
    numbers = told("FigureExt4", "Ext4B")
    for axes, area in zip(drawn(f"Ext4B_{bin_ms}ms").axes, paper.AREAS, strict=True):
        for space in paper.SPACES:
            expected = Counter()
            for centre in np.arange(bin_ms / 2, 200, bin_ms):
                name = f"bin{bin_ms}ms_at_{centre:g}ms | {area}"
                t = numbers.get(f"unpaired_t_{name}")
                if t is not None and (t > 0) == (space == "DeePSim"):
                    expected[float(centre)] = 1 + numbers[f"fdr_{name}"]
            assert dots(axes, space) == expected, (area, space)


def test_shares_differ_somewhere_in_each_direction(told):
    """Otherwise the colours above are not tested."""
    numbers = told("FigureExt4", "Ext4B")
    signs = {value > 0 for name, value in numbers.items() if name.startswith("unpaired_t")}
    assert signs == {True, False}
    assert {value for name, value in numbers.items() if name.startswith("fdr_")} == {True, False}


def test_rates_of_success_have_the_colours_of_their_spaces(told, drawn):
    numbers, axes = told("Figure4", "4A"), drawn("4A").axes[0]
    for space in paper.SPACES:
        expected = [numbers[f"success_rate | {area} | {space}"] for area in paper.AREAS]
        (line,) = lines_of(axes, space)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
        assert line.get_label() == space
    counts = [text.get_text() for text in axes.texts if "/" in text.get_text()]
    assert counts == [
        f"{numbers[f'n_success_p01 | {area} | {space}']}/{numbers[f'n_valid | {area}']}"
        for space in paper.SPACES
        for area in paper.AREAS
    ]


def test_mean_trajectories_have_the_colours_of_their_spaces(told, drawn):
    """Figure 4C: the thick lines of a space are its mean, block by block."""
    numbers = told("Figure4", "4C")
    for axes, area in zip(drawn("4C").axes, paper.AREAS, strict=True):
        assert f"= {numbers[f'n | {area}']})" in axes.get_title()
        for space in paper.SPACES:
            expected = dict(enumerate(numbers[f"mean_by_block | {area} | {space}"]))
            assert mean_curve(axes, space) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("block", paper.SHOWN_BLOCKS)
def test_mean_psths_have_the_colours_of_their_spaces(told, drawn, block):
    numbers = told("Figure5", "5A")
    for axes, area in zip(drawn(f"5A_block{block}").axes, paper.AREAS, strict=True):
        for space in paper.SPACES:
            expected = dict(enumerate(numbers[f"mean_psth, block {block} | {area} | {space}"]))
            assert mean_curve(axes, space) == pytest.approx(expected, rel=1e-6)


def test_time_constants_have_the_colours_of_their_spaces(told, drawn):
    """Figure 4D: one group of dots per area, with the mean that is told."""
    numbers, axes = told("Figure4", "4D"), drawn("4D").axes[0]
    for space in paper.SPACES:
        groups = [
            line
            for line in lines_of(axes, space)
            if line.get_linestyle() == "None" and line.get_alpha()
        ]
        for area, group in zip(paper.AREAS, groups, strict=True):
            assert len(group.get_ydata()) == numbers[f"n | {area} | {space}"]
            mean = numbers[f"mean_time_constant_blocks | {area} | {space}"]
            np.testing.assert_allclose(np.mean(group.get_ydata()), mean, rtol=1e-6)
