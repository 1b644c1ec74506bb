"""Figures as a journal prints them: what is in the PDF files, the marks, colours for every eye."""

from __future__ import annotations

import hashlib
import io
import itertools
import re

import numpy as np
import pypdf
import pytest
from fontTools.ttLib import TTFont
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from core.spaces import Space
from figure_reproduction.__main__ import SCRIPTS, figure_script
from figure_reproduction.page.drawing import SAFE_COLOURS, draw_padded_mean, mostly_padding
from figure_reproduction.page.groups import Curve
from figure_reproduction.page.page import PrintJob, composed_pages, print_figure
from figure_reproduction.page.sheet import Drawing, Place, in_rows, letters_of, print_sheet, style
from figure_reproduction.page.words import number, p_value, t_test, tick

MM_PER_PT = 25.4 / 72

#: Nature's guide to figures: widths, height, text, lines.
WIDTHS_MM, HIGHEST_MM = (89, 183), 247
SMALLEST_PT, LARGEST_PT, THINNEST_PT = 5, 7, 0.25


def _page(path):
    (page,) = pypdf.PdfReader(path).pages
    return page


def _size_mm(page):
    return float(page.mediabox.width) * MM_PER_PT, float(page.mediabox.height) * MM_PER_PT


def _operands(page, operator, count):
    text = page.get_contents().get_data().decode("latin-1")
    pattern = r"(-?[\d.]+)\s+" * count + re.escape(operator) + r"\b"
    return [tuple(map(float, np.atleast_1d(found))) for found in re.findall(pattern, text)]


@pytest.mark.parametrize("name", ["Figure2", "Figure4"])
def test_a_composed_figure_has_the_width_of_a_column_or_a_page(small_figures, name):
    width, height = _size_mm(_page(small_figures / f"{name}.pdf"))
    assert min(abs(width - wanted) for wanted in WIDTHS_MM) < 0.5
    assert height <= HIGHEST_MM


@pytest.mark.parametrize("name", ["Figure2", "Figure4", "4A", "2D"])
def test_text_and_lines_are_as_large_as_a_journal_asks(small_figures, name):
    """Only the letters of panels (8 pt) are outside 5 to 7 pt; exponents are not."""
    page = _page(small_figures / f"{name}.pdf")
    sizes = {size for (size,) in _operands(page, "Tf", 1)}
    assert sizes
    assert all(SMALLEST_PT <= round(size, 2) <= LARGEST_PT or size == 8 for size in sizes)
    widths = {width for (width,) in _operands(page, "w", 1)} - {0}
    assert min(widths) >= THINNEST_PT


@pytest.mark.parametrize("name", ["Figure2", "Figure4"])
def test_text_is_embedded_as_truetype_in_the_bundled_face(small_figures, name):
    fonts = _page(small_figures / f"{name}.pdf")["/Resources"]["/Font"].values()
    bases = {font.get_object()["/BaseFont"].partition("+")[2] or font.get_object()["/BaseFont"]
             for font in fonts}  # fmt: skip
    assert bases
    assert all(base.lstrip("/").startswith("LiberationSans") for base in bases)
    for font in (font.get_object() for font in fonts):
        inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        file = inner["/FontDescriptor"].get_object()["/FontFile2"].get_object()
        tables = set(TTFont(io.BytesIO(file.get_data())).keys())
        assert "glyf" in tables
        assert tables.isdisjoint({"GDEF", "GPOS", "GSUB"})  # nothing has to be set any more


@pytest.mark.parametrize(("name", "letters"), [("Figure2", "bd"), ("Figure4", "abcd")])
def test_panels_have_their_letters(small_figures, name, letters):
    lines = _page(small_figures / f"{name}.pdf").extract_text().splitlines()
    assert set(letters) <= {line.strip() for line in lines if len(line.strip()) == 1}


def test_no_two_pictures_have_the_same_bytes(small_figures):
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in small_figures.glob("*.pdf")]
    assert len(digests) == len(set(digests)) > 6


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "More" not in name])
def test_no_picture_is_printed_twice_in_a_figure(name):
    pages = figure_script(name).pages
    pictures = [picture for page in pages for row in page for picture in row]
    assert pictures
    assert len(pictures) == len(set(pictures))


def test_a_table_without_a_pickled_twin_is_named(small_source_data, tmp_path, capsys):
    job = PrintJob(small_source_data, tmp_path, ("svg",), form="pkl", panels=("4A",))
    entry = print_figure(figure_script("Figure4"), job).panels["4A"]
    assert "no pickled twin, read as CSV: Fig4/Fig4A_SuccessRate" in capsys.readouterr().err
    assert "Fig4/Fig4A_SuccessRate_maxinit.csv" in entry["inputs"]


def test_every_page_of_a_figure_has_its_letters():
    """Extended Figure 4 fills two pages; c begins on the first and goes on on the second."""
    script = figure_script("FigureExt4")
    names = [name for page in script.pages for row in page for name in row]
    places = {n: Place(Drawing(_plain, (60, 40)), panel=n.partition("_")[0]) for n in names}
    pages = dict(composed_pages(script, places))
    assert list(pages) == ["FigureExt4", "FigureExt4_page2"]
    assert [[p.letter for p in page if p.letter] for page in pages.values()] == [["b", "c"], ["c"]]


def test_the_origin_of_real_data_is_said_once_for_neighbours():
    """Two pictures of one origin and a third of another: two lines."""
    drawing = Drawing(_plain, (60, 40))
    with style():
        sheet = print_sheet(
            in_rows([[Place(drawing, origin=origin)] for origin in ("one", "one", "other")])
        )
    assert [text.get_text() for text in sheet.texts] == ["one", "other"]


def test_a_mean_is_dotted_where_fewer_than_half_still_recorded():
    """Four experiments, of which 4, 4, 3, 2, 1, 1 recorded: solid up to the fourth block."""
    axes = Figure().subplots()
    padding = mostly_padding(np.array([4, 4, 3, 2, 1, 1]), 4)
    curve = Curve(np.arange(6.0), np.zeros(6), 4)
    draw_padded_mean(axes, np.arange(6), curve, Space.BIGGAN, padding)
    solid, dotted = axes.lines
    assert (solid.get_linestyle(), dotted.get_linestyle()) == (Space.BIGGAN.dash, ":")
    drawn = [line.get_xdata()[np.isfinite(line.get_ydata())] for line in (solid, dotted)]
    assert [x.tolist() for x in drawn] == [[0, 1, 2, 3], [3, 4, 5]]


def _plain(canvas):
    canvas.subplots().plot([0, 1])


@pytest.mark.parametrize("size_mm", [(54, 62), (89, 160), (183, 58)])
def test_the_mark_is_whole_in_every_third_and_off_the_data(size_mm):
    """Thirds of the height have it at the left, thirds of the width below."""
    with style():
        figure = print_sheet([Place(Drawing(_plain, size_mm), mark="SIMULATED")])
    axes = figure.subfigs[0].axes[0].get_tightbbox()
    page = figure.bbox
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == 6
    assert not any(box.overlaps(axes) for box in boxes)
    for third in range(3):
        across = (page.width * third / 3, page.width * (third + 1) / 3)
        up = (page.height * third / 3, page.height * (third + 1) / 3)
        assert any(across[0] <= b.x0 and b.x1 <= across[1] and b.y1 < axes.y0 for b in boxes)
        assert any(up[0] <= b.y0 and b.y1 <= up[1] and b.x1 < axes.x0 for b in boxes)


def test_a_picture_is_as_large_alone_as_in_its_figure():
    """Two rows; the axes have the same inches in both."""
    drawings = [Drawing(_plain, size) for size in ((60, 40), (29, 40), (89, 50))]
    with style():
        together = print_sheet(in_rows([[Place(d) for d in drawings[:2]], [Place(drawings[2])]]))
        for drawing, part in zip(drawings, together.subfigs, strict=True):
            alone = print_sheet([Place(drawing)])
            for one, other in ((alone.subfigs[0], part),):
                sizes = [s.axes[0].get_window_extent().size for s in (one, other)]
                np.testing.assert_allclose(*sizes, atol=1)
    np.testing.assert_allclose(together.get_size_inches() * 25.4, (89, 90))


def test_each_letter_is_written_once():
    printed = [("4B_last", "4B"), ("4A", "4A"), ("4B_initial", "4B"), ("x", "6D_failed")]
    assert letters_of(printed) == {"4B_last": "b", "4A": "a", "x": "d"}


def test_numbers_are_written_as_a_journal_writes_them():
    assert (number(-3.728), number(float("nan"))) == ("−3.73", "–")
    assert [tick(v) for v in (-0.4, -0.0, 0.32)] == ["−0.4", "0", "0.32"]
    assert p_value(0.0593) == "$P$ = 0.059"
    assert p_value(3.14e-4) == "$P$ = 3.1\N{THIN SPACE}×\N{THIN SPACE}10$^{−4}$"
    assert t_test(-5.344, 36, 0.02) == "$t$(36) = −5.34\n$P$ = 0.02"
    assert t_test(float("nan"), 0, float("nan")) == "no test"


#: Simulation of protanopia, deuteranopia and tritanopia at full severity (Machado et al. 2009).
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def _lab(colour, matrix):
    linear = np.asarray(to_rgb(colour))
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ seen / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize(
    "colours", [SAFE_COLOURS, tuple(space.colour for space in Space)], ids=["boxes", "spaces"]
)
def test_colours_stay_apart_in_every_kind_of_colour_vision(kind, colours):
    """20 units of Lab are far apart; orange and green of matplotlib come within 12."""
    for one, other in itertools.combinations(colours, 2):
        distance = np.linalg.norm(_lab(one, BLINDNESS[kind]) - _lab(other, BLINDNESS[kind]))
        assert distance > 20, (one, other)


def test_the_spaces_differ_without_colour_too():
    assert len({space.dash for space in Space}) == len({space.marker for space in Space}) == 2
