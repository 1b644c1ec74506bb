"""The page that shows all figures: what is on it, on any screen, whatever the files say."""

from __future__ import annotations

import html.parser
import itertools
import json
import os
import re
import shutil
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from core.errors import MalformedDataError
from core.published import Statistic
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table, write_table, write_tables
from core.spaces import Space
from figure_reproduction.Figure4_reproduction import FIGURE
from figure_reproduction.page import report, thumbnails
from figure_reproduction.page.page import (
    Drawing,
    FigureScript,
    PrintJob,
    Shown,
    print_figure,
)
from figure_reproduction.page.report import shown_value, write_report
from figure_reproduction.page.thumbnails import thumbnail
from neuro_data_analysis.evolution.population import success_rate_table

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)

#: Counts of Figure 4A, the last one wrong: 104 valid experiments of IT in place of 106.
COUNTS = ({Space.DEEPSIM: [10, 37, 67], Space.BIGGAN: [0, 20, 65]}, [10, 38, 104])

ODD_TEXT = """<script>document.title = "run"</script> "quoted" & 'so' — \u202e"""

VOID_ELEMENTS = {"meta", "img", "br", "link", "input"}


#: A figure with all that strains a page: odd text, long names, many numbers, a wide picture.
STRAINING = FigureScript(
    name="FigureExt8",
    folder="Fig4",
    title=ODD_TEXT,
)


def show_wide(success_rate):
    numbers = [
        Statistic(f"{ODD_TEXT} {n} " + "long_name_" * 20, [n / 7] * 40, "IT", "BigGAN")
        for n in range(200)
    ]
    wide = Drawing(lambda canvas: canvas.add_subplot().plot([0, 1]), (508, 50.8))
    return Shown(numbers, {"8A_wide": wide, "8A": Drawing(lambda canvas: None, (25.4, 152.4))})


show_wide.__doc__ = ODD_TEXT
STRAINING.panel("8A", reads=("success_rate",))(show_wide)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Print a real panel with one wrong count and a simulated one, and the page of both."""
    base = tmp_path_factory.mktemp("report")
    table = success_rate_table(*COUNTS)
    write_table(base / "real", "Fig4/success_rate", table)
    origin = Provenance("simulated", {"command": f"{ODD_TEXT} --seed {'1' * 300}"})
    write_tables(base / "simulated", "Fig4", [Table("Fig4/success_rate", table)], origin)
    out = base / "figures"
    print_figure(FIGURE, PrintJob(base / "real", out, ("png", "pdf"), panels=("4A",)))
    print_figure(STRAINING, PrintJob(base / "simulated", out, ("png", "svg")))
    write_report(out)
    return out


class Page(html.parser.HTMLParser):
    """The elements of a page in order, and whether every one is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / report.PAGE).read_text(encoding="utf-8"))


def test_every_picture_has_an_alternative_text_and_a_place(page):
    """The caption is the alternative text; simulated ones say so first."""
    images = page.of("img")
    names = ["4A", "8A_wide", "8A"]
    assert [image["src"] for image in images] == [f"thumbnails/{name}.webp" for name in names]
    assert {link["href"] for link in page.of("a")} >= {f"{name}.png" for name in names}
    assert all(len(image["alt"]) > 40 for image in images)
    assert ["(simulated data)" in image["alt"] for image in images] == [False, True, True]
    assert all(0 < int(image["height"]) <= 416 for image in images)
    assert int(images[1]["width"]) > 9 * int(images[1]["height"])


def test_every_target_exists_on_disk_or_on_the_page(page, folder):
    """No resource of another server is loaded; the only link away is the paper's DOI."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [link["href"] for link in page.of("a")] + [image["src"] for image in page.of("img")]
    away = [target for target in targets if urlsplit(target).scheme]
    assert away == ["https://doi.org/10.1038/s41593-026-02207-1"]
    for target in set(targets) - set(away):
        if target.startswith("#"):
            assert unquote(target[1:]) in ids
        else:
            assert (folder / target).is_file()
    assert [script for script in page.of("script") if script] == []  # none is loaded
    loading = {"link", "iframe", "object", "embed", "base", "video", "source"}
    assert {tag for tag, _ in page.elements} & loading == set()
    assert "url(" not in (folder / report.PAGE).read_text(encoding="utf-8")


def test_headings_step_down_one_by_one_and_tables_can_be_scrolled_by_keyboard(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    scrolled = [attributes for attributes in page.of("div") if attributes.get("class") == "scroll"]
    assert len(scrolled) == 4
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in scrolled)
    assert all(cell["scope"] == "col" for cell in page.of("th"))
    assert page.of("html") == [{"lang": "en"}]


def test_marks_origins_and_verdicts_are_told(folder):
    text = (folder / report.PAGE).read_text(encoding="utf-8")
    assert text.count('<span class="badge">SIMULATED</span>') == 2  # in the summary, at the panel
    assert "Not held against the paper" in text
    assert "Extended Data Figure 8" in text
    assert "Published numbers that did not come out" in text
    assert '<a href="#Figure4-4A">4A: n_valid (IT): published 106' in text
    assert text.count('class="differs">differs by') >= 1
    assert "Made with dynamic-neuron-gan-alignment" in text


def test_odd_text_stays_text(page, folder):
    text = (folder / report.PAGE).read_text(encoding="utf-8")
    assert page.of("script") == [{}]  # our own
    assert "&lt;script&gt;" in text
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def _contrast(one, two):
    """Contrast of two colours by WCAG 2.2."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_stands_out_in_both_modes(folder, mode):
    """At least 4.5 : 1 for every colour of text on every ground it stands on."""
    style = (folder / report.PAGE).read_text(encoding="utf-8")
    palette = re.findall(r":root \{(.*?)\}", style)[mode]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", palette))
    for ground in ("paper", "card"):
        for ink in ("ink", "faint", "link", "good", "bad"):
            assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert _contrast(colours["mark"], colours["mark-paper"]) >= 4.5


def test_files_that_are_gone_are_not_linked(folder, tmp_path):
    """A JSON of an earlier run may tell of more files than there are."""
    shutil.copytree(folder, tmp_path / "copy")
    for name in ("8A.png", "4A.pdf"):
        (tmp_path / "copy" / name).unlink()
    page = Page(write_report(tmp_path / "copy").read_text(encoding="utf-8"))
    linked = {link["href"] for link in page.of("a")}
    assert "8A.svg" in linked
    assert not {"8A.png", "4A.pdf"} & linked
    shown = {image["src"] for image in page.of("img")}
    assert shown == {"thumbnails/4A.webp", "thumbnails/8A_wide.webp", "8A.svg"}


def test_the_page_of_one_file_needs_no_other_file(folder, tmp_path):
    """Pictures are inside; every link leads to a place of the page, or to the paper."""
    shutil.copytree(folder, tmp_path / "copy")
    whole = write_report(tmp_path / "copy", single_file=True)
    alone = Page((whole.parent / report.SINGLE_FILE).read_text(encoding="utf-8"))
    assert len(alone.of("img")) == 3
    assert all(image["src"].startswith("data:image/webp;base64,") for image in alone.of("img"))
    targets = {link["href"] for link in alone.of("a")}
    ids = {attributes.get("id") for _, attributes in alone.elements}
    assert {unquote(target[1:]) for target in targets if target.startswith("#")} <= ids
    assert [target for target in targets if target[0] != "#"] == [
        "https://doi.org/10.1038/s41593-026-02207-1"
    ]


def test_pictures_of_the_paper_stand_beside_those_that_they_belong_to(folder, tmp_path):
    """By their names, in any case; one of the panel that none of ours is named after comes last."""
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "paper").mkdir()
    for name in ("4a", "8A_2", "8A_WIDE", "4AB"):
        Image.new("RGB", (30, 20)).save(tmp_path / "paper" / f"{name}.png")
    (tmp_path / "paper" / "8A_broken.png").write_bytes(b"no picture")
    whole = write_report(tmp_path / "copy", paper_pictures=tmp_path / "paper")
    page = Page(whole.read_text(encoding="utf-8"))
    assert [image["src"].split("/")[1] for image in page.of("img")] == [
        "4A.webp", "paper-4a.webp", "8A_wide.webp", "paper-8A_WIDE.webp", "8A.webp",
        "paper-8A_2.webp",
    ]  # fmt: skip
    assert "as printed in the paper, supplied by the reader" in page.of("img")[1]["alt"]


def test_a_small_copy_is_renewed_with_its_picture_and_none_is_made_of_a_bomb(tmp_path, monkeypatch):
    picture = tmp_path / "4A.png"
    Image.new("RGB", (4000, 3000)).save(picture)
    assert thumbnail(picture, tmp_path) == "thumbnails/4A.webp"
    copy = tmp_path / "thumbnails" / "4A.webp"
    with Image.open(copy) as small:
        assert small.size == (1600, 1200)
    os.utime(copy, (1, 1))
    Image.new("RGB", (40, 30)).save(picture)
    assert thumbnail(picture, tmp_path)
    with Image.open(copy) as small:
        assert small.size == (40, 30)
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 1000)
    os.utime(copy, (1, 1))
    assert thumbnail(picture, tmp_path) is None


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    assert "No figure has been made yet" in write_report(tmp_path).read_text(encoding="utf-8")


def _panel(content):
    return content["panels"]["4A"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.clear(),
        lambda c: c.update(panels=[]),
        lambda c: c.update(software=None),
        lambda c: _panel(c).pop("caption"),
        lambda c: _panel(c).update(inputs=None),
        lambda c: _panel(c)["provenance"].update(kind="trust me"),
        lambda c: _panel(c)["provenance"].update(kind=["simulated"]),
        lambda c: _panel(c)["provenance"].update(details=7),
        lambda c: _panel(c)["statistics"].append({"quantity": "n"}),
        lambda c: _panel(c)["statistics"][0].update(area=[]),
        lambda c: _panel(c)["statistics"][0].pop("verdict"),
        lambda c: _panel(c)["statistics"][0].update(verdict=3),
        lambda c: _panel(c)["statistics"][0].update(verdict=["equal"]),
        lambda c: _panel(c)["pictures"].update({"4A": [1]}),
        lambda c: _panel(c)["pictures"].update({"4A": ["javascript:alert(1)//.png"]}),
        lambda c: _panel(c)["pictures"].update({"4A": ["../../../etc/passwd"]}),
        lambda c: _panel(c)["pictures"].update({"4A": ["https://example.org/4A.png"]}),
    ],
)
def test_a_json_that_no_figure_script_wrote_is_refused(folder, tmp_path, spoil):
    """One sentence that names the file, and no page."""
    content = json.loads((folder / "Figure4.json").read_text(encoding="utf-8"))
    spoil(content)
    (tmp_path / "Figure4.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(MalformedDataError) as caught:
        write_report(tmp_path)
    assert str(tmp_path / "Figure4.json") in str(caught.value)
    assert not (tmp_path / report.PAGE).exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "True"),
        (12, "12"),
        (0.123456, "0.1235"),
        ([1, 2.5], "1, 2.5"),
        ([], "none"),
        (list(range(9)), "0, 1, … 8 (9 values)"),
        ("12x4", "12x4"),
    ],
)
def test_values_are_written_for_reading(value, shown):
    assert shown_value(value) == shown


#: Opens everything that folds, and tells how wide the page is and which pictures are broken.
PROBE = """<script>addEventListener("load", () => {
  document.querySelectorAll("details").forEach(folded => { folded.open = true; });
  const images = [...document.images];
  images.forEach(image => { image.loading = "eager"; });
  Promise.allSettled(images.map(image => image.decode())).then(() => {
    const root = document.documentElement, style = getComputedStyle(document.body);
    parent.postMessage(JSON.stringify({
      width: root.scrollWidth, window: root.clientWidth, title: document.title,
      broken: images.filter(image => !image.naturalWidth).map(image => image.src),
      wide: [...document.querySelectorAll("article *")].filter(part => !part.closest(".scroll")
        && part.getBoundingClientRect().right > root.clientWidth).map(part => part.outerHTML),
      ground: style.backgroundColor, pictures: images.length,
    }), "*");
  });
});</script></body>"""

#: Holds the page as a phone or a desk would; a window of chromium has at least 500 pixels.
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark">
<script>addEventListener("message", told => {
  document.documentElement.dataset.probe = told.data;
});</script>
<iframe src="index.html" style="border: 0; width: WIDTHpx; height: 900px"></iframe>"""


def _in_chromium(page, *flags, profile, budget_ms):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", f"--user-data-dir={profile}",
        f"--virtual-time-budget={budget_ms}",
        *flags, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, timeout=90).stdout.decode()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_real_browser_shows_the_page(folder, tmp_path, width, dark):
    """All pictures load, nothing runs, the page is no wider than the screen, the mode is right."""
    shutil.copytree(folder, tmp_path / "copy")
    page = tmp_path / "copy" / report.PAGE
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    frame = tmp_path / "copy" / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    mode = "--blink-settings=preferredColorScheme=" + ("0" if dark else "1")
    flags = ("--dump-dom", "--window-size=1300,1000", mode)
    for budget_ms in (10_000, 40_000, 160_000):  # a busy machine decodes pictures late
        dom = _in_chromium(frame, *flags, profile=tmp_path / "profile", budget_ms=budget_ms)
        if told := re.search(r'data-probe="([^"]*)"', dom):
            break
    assert told, dom[:500]
    found = json.loads(told[1].replace("&quot;", '"'))
    assert found["broken"] == []
    assert found["wide"] == []
    assert width - 20 <= found["window"] <= width  # a scroll bar may take some
    assert found["width"] <= found["window"]
    assert found["title"] == "Figures: dynamic neuron–GAN alignment"
    assert found["ground"] == ("rgb(22, 22, 24)" if dark else "rgb(255, 255, 255)")
    assert found["pictures"] == 3


def test_numbers_that_nobody_published_are_not_counted():
    """Eighty of Extended Figure 5C; with them alone the page says that nothing is compared."""
    unknown = [{"verdict": "not published"}] * 80
    known = [{"verdict": "equal"}, {"verdict": "differs by +1"}, {}]
    figures = [{"panels": {"5C": {"statistics": unknown}}}]
    assert not report.count_verdicts(figures)
    figures.append({"panels": {"4A": {"statistics": known}}})
    assert report.count_verdicts(figures) == {"equal": 1, "differs": 1}
