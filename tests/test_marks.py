"""What the pictures show of the numbers: colours of the spaces, and dots where blocks differ.

The pictures and the numbers come from the same command; positions are looked up in the numbers.
"""

from __future__ import annotations

import itertools

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


def dots(axes, space):
    """Return the x and the heights of small dots of a space, of all lines without a line."""
    found = [
        line
        for line in axes.lines
        if line.get_marker() == "o"
        and line.get_linestyle() == "None"
        and to_hex(line.get_color()) == paper.COLOURS[space]
    ]
    x = [value for line in found for value in line.get_xdata()]
    y = [value for line in found for value in line.get_ydata()]
    return x, y


def curves(axes, space):
    """Return the thick curves of a space."""
    return [
        line
        for line in axes.lines
        if to_hex(line.get_color()) == paper.COLOURS[space] and line.get_linewidth() >= 1
    ]


@pytest.mark.parametrize(
    ("figure", "panel", "picture", "width", "level"), WINDOW_PICTURES,
    ids=[picture[2] for picture in WINDOW_PICTURES],
)  # fmt: skip
def test_dots_of_windows_lie_where_the_space_of_their_colour_is_larger(
    told, drawn, figure, panel, picture, width, level
):
    """One row of plots per area, one column per window; blocks beyond 45 are not shown."""
    numbers = told(figure, panel)
    plots = iter(drawn(picture).axes)
    n_dots = 0
    for area in ("V4", "IT"):
        for start in range(0, 200, width):
            axes = next(plots)
            for space in paper.SPACES:
                name = f"{start}-{start + width} ms{level} | {area} | {space}"
                expected = [b for b in numbers[f"blocks where larger, {name}"] if b <= 45]
                x, y = dots(axes, space)
                assert x == expected, (name, "dots")
                assert set(y) <= {1.35}
                n_dots += len(x)
                drawn_means = [line for line in curves(axes, space) if len(line.get_xdata()) == 56]
                np.testing.assert_allclose(
                    drawn_means[0].get_ydata(), numbers[f"mean_by_block, {name}"], rtol=1e-6
                )
    assert n_dots > 0


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
    """Two rows of dots: 1.15 and 1.25 times the top; t > 0 is blue."""
    numbers = told("FigureExt4", "Ext4B")
    for axes, area in zip(drawn(f"Ext4B_{bin_ms}ms").axes, paper.AREAS, strict=True):
        means = (f"mean_fraction_bin{bin_ms}ms | {area} | {space}" for space in paper.SPACES)
        top = max(max(numbers[name]) for name in means)
        for space in paper.SPACES:
            expected = set()
            for centre in np.arange(bin_ms / 2, 200, bin_ms):
                name = f"bin{bin_ms}ms_at_{centre:g}ms | {area}"
                t = numbers.get(f"unpaired_t_{name}")
                if t is not None and (t > 0) == (space == "DeePSim"):
                    expected.add((centre, 1.15))
                    if numbers[f"fdr_{name}"]:
                        expected.add((centre, 1.25))
            x, y = dots(axes, space)
            found = {(a, round(b / top, 3)) for a, b in zip(x, y, strict=True)}
            assert found == expected, (area, space)


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
        (line,) = curves(axes, space)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
        assert line.get_label() == space
    counts = [text.get_text() for text in axes.texts if "/" in text.get_text()]
    assert counts == [
        f"{numbers[f'n_success_p01 | {area} | {space}']}/{numbers[f'n_valid | {area}']}"
        for space in paper.SPACES
        for area in paper.AREAS
    ]


def test_mean_trajectories_have_the_colours_of_their_spaces(told, drawn):
    """Figure 4C: the thick line of a space is its mean, within its titled group."""
    numbers = told("Figure4", "4C")
    for axes, area in zip(drawn("4C").axes, paper.AREAS, strict=True):
        assert axes.get_title() == f"{area} (N={numbers[f'n | {area}']})"
        for space in paper.SPACES:
            (line,) = [line for line in curves(axes, space) if line.get_linewidth() == 3]
            expected = numbers[f"mean_by_block | {area} | {space}"]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)


@pytest.mark.parametrize("block", paper.SHOWN_BLOCKS)
def test_mean_psths_have_the_colours_of_their_spaces(told, drawn, block):
    numbers = told("Figure5", "5A")
    for axes, area in zip(drawn(f"5A_block{block}").axes, paper.AREAS, strict=True):
        for space in paper.SPACES:
            (line,) = [line for line in curves(axes, space) if line.get_linewidth() == 3]
            expected = numbers[f"mean_psth, block {block} | {area} | {space}"]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)


def test_time_constants_have_the_colours_of_their_spaces(told, drawn):
    """Figure 4D: dots of threads, one group per area, and the line of their means."""
    numbers, axes = told("Figure4", "4D"), drawn("4D").axes[0]
    for space in paper.SPACES:
        groups = [line for line in axes.lines if to_hex(line.get_color()) == paper.COLOURS[space]]
        points = [line for line in groups if line.get_linestyle() == "None" and line.get_alpha()]
        assert [len(p.get_xdata()) for p in points] == [
            numbers[f"n | {area} | {space}"] for area in paper.AREAS
        ]
        means = [numbers[f"mean_time_constant_blocks | {area} | {space}"] for area in paper.AREAS]
        (line,) = [line for line in groups if line.get_linestyle() == "-"]
        np.testing.assert_allclose(line.get_ydata(), means, rtol=1e-6)
        for position, group in enumerate(points):
            assert np.abs(group.get_xdata() - position).max() <= 0.25
            np.testing.assert_allclose(np.mean(group.get_ydata()), means[position], rtol=1e-6)


def test_responses_of_the_example_have_the_colours_of_their_spaces(told, drawn):
    """Figure 2B: from the first to the last mean of each of three responses."""
    numbers, axes = told("Figure2", "2B"), drawn("2B").axes[0]
    for space, response in itertools.product(
        paper.SPACES, ("evoked response", "reference images", "baseline")
    ):
        (line,) = [line for line in axes.lines if line.get_label() == f"{space} {response}"]
        assert to_hex(line.get_color()) == paper.COLOURS[space]
        assert line.get_ydata()[0] == pytest.approx(
            numbers[f"{response}, mean of first | {space}"], rel=1e-6
        )
        assert line.get_ydata()[-1] == pytest.approx(
            numbers[f"{response}, mean of last | {space}"], rel=1e-6
        )
