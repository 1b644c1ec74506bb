"""Tables that hands and other programs have changed: read right, or one sentence says what is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.errors import MalformedDataError, MissingDataError
from core.source_tables.reader import SourceData, write_table
from core.source_tables.registry import TABLES

BLOCKS = 7
RESPONSES = np.arange(3 * BLOCKS).reshape(3, BLOCKS) / 21


def written(folder, key, change, value=None, **member):
    """Write a table, let its text be changed, and return what reads it."""
    if value is not None:
        path = write_table(folder, key, value, **member)
    else:
        path = TABLES[key].path(folder, member)
        path.parent.mkdir(parents=True)
    changed = change(path.read_text() if value is not None else "")
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    return lambda: SourceData(folder).read(key, **member)


def responses(folder, change):
    return written(folder, "Fig4/response_mean", change, RESPONSES, space="BigGAN")


def _as_table(text, change):
    rows = [line.split(",") for line in text.splitlines()]
    return "\n".join(",".join(row) for row in change(rows)) + "\n"


WIDE = {
    "columns reversed": (lambda rows: [row[::-1] for row in rows], "columns are in another order"),
    "two columns exchanged": (
        lambda rows: [[row[1], row[0], *row[2:]] for row in rows], "columns are in another order"),
    "header lost": (lambda rows: rows[1:], "columns are not numbered"),
    "a column doubled": (lambda rows: [[row[0], *row] for row in rows], "columns are not numbered"),
    "an index column added": (
        lambda rows: [[n, *row] for n, row in zip(["", "0", "1", "2"], rows, strict=True)],
        "columns are not numbered"),
    "the first column lost": (lambda rows: [row[1:] for row in rows], "columns are not numbered"),
    "a line of Excel": (lambda rows: [["sep=", ""], *rows], "a line 'sep='"),
    "numbers from 1": (
        lambda rows: [[str(n + 1) for n in range(BLOCKS)], *rows[1:]], "columns are not numbered"),
    "an absurd value": (
        lambda rows: [rows[0], [*rows[1][:-1], "1e300"], *rows[2:]], "which no response is"),
    "infinity": (lambda rows: [rows[0], [*rows[1][:-1], "inf"], *rows[2:]], "no response is"),
    "a decimal comma": (
        lambda rows: [rows[0], [*rows[1][:-1], '"0,5"'], *rows[2:]], "'0,5' in row 0; expected"),
    "a last row cut": (lambda rows: [*rows[:-1], rows[-1][:2]], "row 2, column 2 is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDE)
def test_the_order_of_a_wide_table_is_not_taken_on_trust(tmp_path, name):
    change, told = WIDE[name]
    read = responses(tmp_path, lambda text: _as_table(text, change))
    with pytest.raises(MalformedDataError, match=told):
        read()


def test_numbered_rows_keep_their_order(tmp_path):
    value = np.arange(3 * 40).reshape(3, 40) / 200
    read = written(
        tmp_path, "ExtendedFig4/attribution_5ms",
        lambda text: _as_table(text, lambda rows: [rows[0], rows[2], rows[1], rows[3]]),
        value, space="BigGAN",
    )  # fmt: skip
    with pytest.raises(MalformedDataError, match="rows are in another order"):
        read()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.encode("utf-16"), "its text is UTF-16; save it as CSV in UTF-8"),
        (lambda text: text.replace("\n", "\r"), "its lines end with CR only"),
        (lambda text: text.replace(",", ";"), "separated by semicolons"),
        (lambda text: text.replace(".", ",").replace(",", ";"), "separated by semicolons"),
        (lambda text: text.replace(",", "\t"), "separated by tabs"),
        (lambda text: b"\xe9" + text.encode(), "byte 0 is not UTF-8"),
        (lambda text: "", "it is empty"),
        (lambda text: " \n \n", "it is empty"),
        (lambda text: text + "\x00", "it is no text"),
    ],
)
def test_encodings_line_ends_and_separators_are_named(tmp_path, change, told):
    with pytest.raises(MalformedDataError, match=told):
        responses(tmp_path, change)()


@pytest.mark.parametrize(
    "change",
    [lambda text: text.rstrip(), lambda text: text.replace("\n", "\r\n"),
     lambda text: "\ufeff" + text, lambda text: text + "\n"],
    ids=["no final line end", "CRLF", "BOM", "a blank line"],
)  # fmt: skip
def test_harmless_changes_are_read(tmp_path, change):
    np.testing.assert_array_equal(responses(tmp_path, change)(), RESPONSES)


@pytest.mark.parametrize("key", ["Fig4/masks", "Fig4/response_mean", "Fig5/psth"])
def test_a_million_columns_are_counted_and_not_parsed(tmp_path, key):
    member = dict(TABLES[key].members[0])
    header = ",".join(map(str, range(150_000)))
    read = written(tmp_path, key, lambda _: f"{header}\n{header}\n", **member)
    with pytest.raises(MalformedDataError, match="150000 columns; expected at most"):
        read()


def rates(**changed):
    table = pd.DataFrame({
        "label": ["V1", "V4", "IT"], "FC_suc": [1, 10, 65], "BG_suc": [0, 5, 50],
        "total": [4, 20, 106], "FC_rate": [0.25, 0.5, 65 / 106], "BG_rate": [0, 0.25, 50 / 106],
        "FC_CI_1": [0.1, 0.4, 0.5], "FC_CI_2": [0.5, 0.6, 0.7],
        "BG_CI_1": [0.0, 0.1, 0.4], "BG_CI_2": [0.2, 0.4, 0.6],
    })  # fmt: skip
    for name, (row, value) in changed.items():
        table[name] = table[name].astype(object)
        table.loc[row, name] = value
    return table.to_csv(index=False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"FC_suc": (2, 66)}, r"row 2 says FC_suc 66 of total 106 beside FC_rate 0\.613"),
        ({"FC_rate": (2, 0.7)}, "one of them is wrong"),
        ({"total": (1, 21)}, "one of them is wrong"),
        ({"BG_CI_1": (2, 0.55)}, "BG_rate 0.471698 lies outside its interval"),
        ({"FC_CI_2": (0, 1.5)}, r"'FC_CI_2' holds 1\.5; expected 0 to 1"),
        ({"label": (2, "V4")}, "row 2 repeats label V4"),
    ],
)
def test_rates_that_contradict_their_counts_are_told(tmp_path, changed, told):
    read = written(tmp_path, "Fig4/success_rate", lambda _: rates(**changed))
    with pytest.raises(MalformedDataError, match=told):
        read()


def test_rates_of_none_and_of_all_may_lie_at_the_edge(tmp_path):
    read = written(tmp_path, "Fig4/success_rate", lambda _: rates())
    assert read()["FC_suc"].tolist() == [1, 10, 65]


def trials(**changed):
    table = pd.DataFrame({
        "img_name": ["a", "b", "c"], "pref_unit_resp": [1.0, 2, 3],
        "space_name": ["class", "noise", None], "eig_id": [0, 1, None], "lin_dist": [0.1, 0, None],
    })  # fmt: skip
    for name, (row, value) in changed.items():
        table.loc[row, name] = value
    return table.to_csv()


def similarities(numbers):
    names = [name for name in TABLES["Fig3/similarity"].layout.names if name != "Expi"]
    return pd.DataFrame({"Expi": numbers} | dict.fromkeys(names, 0.5)).to_csv()


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("Fig6/trials", trials(eig_id=(1, None)), "'eig_id' is empty in row 1, an image of an"),
        ("Fig6/trials", trials(lin_dist=(0, None)), "'lin_dist' is empty in row 0"),
        ("Fig6/trials", trials(pref_unit_resp=(1, 1e300)), r"holds 1e\+300; expected -1e\+06 to"),
        ("Fig3/similarity", similarities([3, 9, 3]), r"row 2 repeats Expi 3"),
        ("ExtendedFig5/linearity_DeePSim", None, "it holds no rows"),
        ("ExtendedFig5/alignment_CMAES", ",dimension,stack_size,seed,gaussian_value\n"
         "0,4,1,0,0.5\n1,4,1,1,0.5\n2,4,2,0,0.5\n", "1 to 2 seeds each; the file is cut off"),
        ("ExtendedFig5/alignment_CMAES", ",dimension,stack_size,seed,gaussian_value\n"
         "0,4,1,0,1.5\n", "'gaussian_value' holds 1.5; expected 0 to 1"),
        ("ExtendedFig5/alignment_CMAES", ",dimension,stack_size,seed,gaussian_value\n"
         "0,4,1,0,.5\n1,4,1,0,.5\n", "row 1 repeats dimension, stack_size, seed 4.0, 1.0, 0.0"),
    ],
)  # fmt: skip
def test_rows_that_do_not_go_together_are_told(tmp_path, key, text, told):
    if text is None:
        text = "," + ",".join(TABLES[key].layout.names) + "\n"
    with pytest.raises(MalformedDataError, match=told):
        written(tmp_path, key, lambda _: text)()


def test_the_published_names_of_extended_figures_5d_and_5e_are_written():
    """As the authors' script and notebook open them."""
    names = [TABLES[f"ExtendedFig5/linearity_{space}"].file for space in ("BigGAN", "DeePSim")]
    assert names == [
        "FigureExt6D_BigGAN_Caffenet_latent_code_linearity_results.csv",
        "FigureExt6E_DeePSim_FC6_Caffenet_latent_code_linearity_results.csv",
    ]


def test_a_table_that_cannot_be_read_is_missing(tmp_path, monkeypatch):
    """The disk's own words, and no traceback."""
    read = responses(tmp_path, lambda text: text)

    def broken(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", broken)
    with pytest.raises(MissingDataError, match=r"cannot be read \(Input/output error\)"):
        read()


def test_a_title_without_end_is_refused(tmp_path):
    text = '{"sucs_criterion_label": "' + "a" * 100_000 + '", "sucs_label": ""}'
    read = written(tmp_path, "Fig4/success_labels", lambda _: text)
    with pytest.raises(MalformedDataError, match="a text of 100000 letters"):
        read()


HOSTILE = ["$\\frac{$", "$x_$", "$\\unknown$", "$" + "{" * 60 + "}" * 60 + "$", "a $5 and $6"]


@pytest.mark.parametrize("title", HOSTILE)
def test_texts_of_tables_are_never_taken_for_formulas(title):
    """A dollar sign is a dollar sign, whatever was before it; the figure is not lost."""
    from matplotlib import pyplot as plt
    from matplotlib.cbook import is_math_text

    from figure_reproduction.Figure2_reproduction import site_in_words
    from figure_reproduction.page.words import as_it_is

    for drawn in (site_in_words(title), as_it_is(title), as_it_is(as_it_is(title))):
        assert not is_math_text(drawn)
        assert drawn.replace("\\$", "$") == title
        figure, axes = plt.subplots(figsize=(30, 4))
        axes.set_title(drawn)
        figure.draw_without_rendering()


def test_a_table_that_changes_while_it_is_read_is_not_taken(tmp_path, monkeypatch):
    """The checksum in a figure's JSON is that of the numbers it shows."""
    read = responses(tmp_path, lambda text: text)
    digests = iter(["one", "two"])
    monkeypatch.setattr("core.source_tables.reader.sha256_of", lambda path: next(digests))
    with pytest.raises(MalformedDataError, match="it changed while it was read"):
        read()
