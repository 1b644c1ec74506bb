"""Source data from OSF or by hand: a local server stands for OSF, well and badly behaved."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import stat
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.source_tables import osf
from core.source_tables.command import main
from core.source_tables.placement import FoundFile, choose_files, files_of, place, target_of
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import write_table, write_tables

#: Storage path → content, with the folder names that the authors use.
STORAGE = {
    "/Fig4_Source_data/Fig4A_sucs_labels.txt": b'{"sucs_criterion_label": "", "sucs_label": ""}\n',
    "/Fig4_Source_data/Figure4_src_exp_masks_and_succ_labels.csv": b"valid\n1\n",
    "/ExtendedFig4_Source_data/FigureExt4_meta_df.csv": b"Expi\n3\n",
    "/ExtendedFig4_Source_data/notes.md": b"not ours\n",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.answers[path]``: a list of (status, headers, body), the last one stays."""

    def do_GET(self):
        self.server.requests.append(self.path)
        answers = self.server.answers.get(self.path, [(404, {}, b"")])
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Osf:
    """A small OSF: pages of listings, files, and the archive of all of them."""

    def __init__(self, server):
        self.server, self.base = server, f"http://127.0.0.1:{server.server_port}"
        self.addresses = osf.Addresses(f"{self.base}/list/", f"{self.base}/zip")
        self.storage = dict(STORAGE)
        self.publish()

    def answer(self, path, *answers):
        self.server.answers[path] = list(answers)

    def publish(self):
        folders = sorted({path.split("/")[1] for path in self.storage})
        first, rest = folders[:1], folders[1:]
        self._page("/list/", [self._folder(f) for f in first], following="/list/?page=2")
        self._page("/list/?page=2", [self._folder(f) for f in rest])
        for folder in folders:
            files = [path for path in self.storage if path.startswith(f"/{folder}/")]
            self._page(f"/list/{folder}/", [self._file(path) for path in files])
        for path, body in self.storage.items():
            self.answer(f"/get{path}", (200, {"ETag": '"1"'}, body))
        self.answer("/zip", (200, {}, zipped(self.storage)))

    def _page(self, path, items, following=None):
        link = f"{self.base}{following}" if following else None
        body = json.dumps({"data": items, "links": {"next": link}}).encode()
        self.answer(path, (200, {}, body))

    def _folder(self, name):
        related = {"href": f"{self.base}/list/{name}/"}
        return {
            "attributes": {"kind": "folder", "name": name},
            "relationships": {"files": {"links": {"related": related}}},
        }

    def _file(self, path):
        body = self.storage[path]
        return {
            "attributes": {
                "kind": "file",
                "name": Path(path).name,
                "size": len(body),
                "materialized_path": path,
                "extra": {"hashes": {"sha256": hashlib.sha256(body).hexdigest()}},
            },
            "links": {"download": f"{self.base}/get{path}"},
        }


@pytest.fixture
def remote():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answers, server.requests = {}, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Osf(server)
    server.shutdown()
    server.server_close()


ODD_SIZE = {
    "data": [
        {
            "attributes": {"kind": "file", "name": "a", "size": ""},
            "links": {"download": "x"},
        }
    ],
    "links": {},
}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, body in files.items():
            archive.writestr(path.lstrip("/"), body)
    return buffer.getvalue()


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


PLACED = [
    "ExtendedFig4/FigureExt4_meta_df.csv",
    "ExtendedFig4/provenance.json",
    "Fig4/Fig4A_sucs_labels.txt",
    "Fig4/Figure4_src_exp_masks_and_succ_labels.csv",
    "Fig4/provenance.json",
    "osf.lock.json",
]


@pytest.mark.parametrize("most_single", [0, 40], ids=["as one archive", "file by file"])
def test_everything_a_figure_reads_is_placed_and_locked(remote, tmp_path, monkeypatch, most_single):
    """Folder names of the storage do not matter; a second fetch downloads no file again."""
    monkeypatch.setattr(osf, "MOST_SINGLE_FILES", most_single)
    placed = osf.fetch(tmp_path, addresses=remote.addresses)
    assert tree(tmp_path) == PLACED
    assert len(placed.written) == 3
    assert placed.unknown == ["/ExtendedFig4_Source_data/notes.md"]
    assert read_provenance(tmp_path / "Fig4").kind == "published"
    before = len(remote.server.requests)
    again = osf.fetch(tmp_path, addresses=remote.addresses)
    assert (len(again.written), len(again.unchanged)) == (0, 3)
    assert all(path.startswith("/list") for path in remote.server.requests[before:])


def test_only_the_figures_asked_for_are_fetched(remote, tmp_path):
    osf.fetch(tmp_path, ["Fig4"], addresses=remote.addresses)
    assert "ExtendedFig4/FigureExt4_meta_df.csv" not in tree(tmp_path)
    assert not any("meta_df" in path for path in remote.server.requests)


def test_a_changed_file_is_told_and_kept_unless_forced(remote, tmp_path, capsys):
    osf.fetch(tmp_path, addresses=remote.addresses)
    mine = tmp_path / "Fig4" / "Fig4A_sucs_labels.txt"
    mine.write_text("edited\n")
    assert list(osf.changed_since_fetch(tmp_path)) == [mine]
    assert main(["check", str(tmp_path), "--figure", "Fig4"]) == 1
    assert "no longer what was fetched" in capsys.readouterr().out
    assert osf.fetch(tmp_path, addresses=remote.addresses).kept == [mine]
    assert mine.read_text() == "edited\n"
    assert osf.fetch(tmp_path, force=True, addresses=remote.addresses).written == [mine]
    assert list(osf.changed_since_fetch(tmp_path)) == []


def test_passing_trouble_is_waited_out(remote, tmp_path):
    """429 with Retry-After on the listing, 500 on a file."""
    page = remote.server.answers["/list/"]
    remote.answer("/list/", (429, {"Retry-After": "0"}, b""), *page)
    path = "/get/Fig4_Source_data/Fig4A_sucs_labels.txt"
    body = STORAGE[path.removeprefix("/get")]
    remote.answer(path, (500, {"Retry-After": "0"}, b""), (200, {}, body))
    osf.fetch(tmp_path, addresses=remote.addresses)
    assert tree(tmp_path) == PLACED


def _wrong_bytes(remote):
    path = "/Fig4_Source_data/Fig4A_sucs_labels.txt"
    remote.answer(f"/get{path}", (200, {}, STORAGE[path][::-1]))


def _wrong_length(remote):
    remote.answer("/get/Fig4_Source_data/Fig4A_sucs_labels.txt", (200, {}, b"x"))


def _redirect_loop(remote):
    path = "/get/Fig4_Source_data/Fig4A_sucs_labels.txt"
    remote.answer(path, (302, {"Location": f"{remote.base}{path}"}, b""))


def _endless_listing(remote):
    body = {"data": [], "links": {"next": remote.addresses.listing}}
    remote.answer("/list/?page=2", (200, {}, json.dumps(body).encode()))


def _other_server(remote):
    body = {"data": [], "links": {"next": "http://192.0.2.1/list"}}
    remote.answer("/list/?page=2", (200, {}, json.dumps(body).encode()))


def _no_json(remote):
    remote.answer("/list/", (200, {}, b"<html>maintenance</html>"))


def _other_json(remote):
    remote.answer("/list/", (200, {}, b'{"errors": []}'))


def _odd_sizes(remote):
    remote.answer("/list/", (200, {}, json.dumps(ODD_SIZE).encode()))


def _deep_json(remote):
    remote.answer("/list/", (200, {}, b"[" * 100_000))


def _huge_page(remote):
    remote.answer("/list/", (200, {}, b" " * (osf.LARGEST_PAGE_BYTES + 1)))


def _nothing_there(remote):
    remote.storage = {"/Fig4_Source_data/notes.md": b"x"}
    remote.publish()
    remote.answer("/list/", *remote.server.answers["/list/"])


def _gone(remote):
    remote.answer("/list/", (404, {}, b""))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_wrong_bytes, "SHA-256"),
        (_wrong_length, "bytes instead of"),
        (_redirect_loop, "HTTP 302"),
        (_endless_listing, "does not end"),
        (_other_server, "another server"),
        (_no_json, "did not answer with JSON"),
        (_other_json, "did not answer with a listing"),
        (_odd_sizes, "did not answer with a listing"),
        (_deep_json, "did not answer with JSON"),
        (_huge_page, "expected at most"),
        (_nothing_there, "none of which a figure reads"),
        (_gone, "HTTP 404"),
    ],
)
def test_a_misbehaving_server_leaves_earlier_files_intact(remote, tmp_path, spoil, told):
    """One sentence; what was there stays, nothing unfinished is trusted, a second run completes."""
    earlier = tmp_path / "Fig4" / "Fig4A_sucs_labels.txt"
    earlier.parent.mkdir()
    earlier.write_text("earlier\n")
    spoil(remote)
    with pytest.raises((MalformedDataError, MissingDataError), match=told):
        osf.fetch(tmp_path, force=True, addresses=remote.addresses)
    assert earlier.read_text() == "earlier\n"
    assert [name for name in tree(tmp_path) if not name.startswith(".osf")] == [
        "Fig4/Fig4A_sucs_labels.txt"
    ]
    remote.storage = dict(STORAGE)
    remote.publish()
    osf.fetch(tmp_path, force=True, addresses=remote.addresses)
    assert tree(tmp_path) == PLACED


def test_an_archive_that_differs_from_its_listing_is_refused(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(osf, "MOST_SINGLE_FILES", 0)
    altered = {path: body[::-1] for path, body in STORAGE.items()}
    remote.answer("/zip", (200, {}, zipped(altered)))
    with pytest.raises(MalformedDataError, match="SHA-256"):
        osf.fetch(tmp_path, addresses=remote.addresses)
    assert tree(tmp_path) == []
    del altered["/Fig4_Source_data/Fig4A_sucs_labels.txt"]
    remote.answer("/zip", (200, {}, zipped(altered)))
    with pytest.raises(MissingDataError, match="lacks"):
        osf.fetch(tmp_path, addresses=remote.addresses)


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
def test_a_download_made_by_hand_is_placed(tmp_path, capsys, packed):
    """Whatever the folders are called; what no figure reads is counted, what is missing named."""
    source = tmp_path / "by hand"
    source.mkdir()
    for path, body in STORAGE.items():
        target = source / path.lstrip("/").replace("Fig4_Source_data", "some folder")
        target.parent.mkdir(exist_ok=True, parents=True)
        target.write_bytes(body)
    if packed:
        archive = tmp_path / "osf.zip"
        with zipfile.ZipFile(archive, "w") as zip_file:
            for file in source.rglob("*.*"):
                zip_file.write(file, file.relative_to(tmp_path))
        source = archive
    out = tmp_path / "source_data"
    assert main(["fetch", "--from", str(source), "--output", str(out)]) == 3
    told = capsys.readouterr()
    assert "3 files written" in told.out
    assert "tables that figures need are still missing" in told.err
    assert "Fig4A_SuccessRate_maxinit.csv" in told.err
    assert tree(out) == PLACED[:-1]
    (out / "Fig4" / "Fig4A_sucs_labels.txt").write_text("edited\n")
    assert main(["fetch", "--from", str(source), "--output", str(out)]) == 1
    assert "--force replaces it" in capsys.readouterr().err


def _entry(name, body=b"x", mode=stat.S_IFREG | 0o644):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry, body


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (_entry("../Fig4A_sucs_labels.txt"), "points outside"),
        (_entry("a/../../Fig4A_sucs_labels.txt"), "points outside"),
        (_entry("/etc/Fig4A_sucs_labels.txt"), "points outside"),
        (_entry("..\\Fig4A_sucs_labels.txt"), "points outside"),
        (_entry("C:\\Fig4A_sucs_labels.txt"), "points outside"),
        (_entry("Fig4A_sucs_labels.txt", b"/etc/passwd", stat.S_IFLNK | 0o777), "is a link"),
        (_entry("Fig4A_sucs_labels.txt", bytes(20_000_000)), "as bombs are"),
    ],
)
def test_malicious_archives_are_refused_with_file_and_reason(tmp_path, entry, told):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(*entry)
    with pytest.raises(MalformedDataError, match=told) as caught, files_of(path):
        pass
    assert "evil.zip" in str(caught.value)


def test_truncated_and_foreign_archives_are_refused(tmp_path):
    body = zipped(STORAGE)
    for name, content in (("cut.zip", body[: len(body) // 2]), ("no.zip", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MalformedDataError, match="not a whole zip"), files_of(tmp_path / name):
            pass
    with pytest.raises(MissingDataError, match="neither a folder nor a zip"), files_of(Path("/no")):
        pass


def test_a_damaged_entry_is_named_and_not_placed(tmp_path):
    body = bytearray(zipped({"/Fig4_Source_data/Fig4A_sucs_labels.txt": b"a" * 50 + b"\n"}))
    body[body.index(b"labels.txt") + 12] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(body)
    with files_of(tmp_path / "bad.zip") as found:
        chosen, _ = choose_files(found)
        with pytest.raises(MalformedDataError, match=r"damaged|not as long"):
            place(chosen, tmp_path / "out", Provenance("found"))
    assert tree(tmp_path) == ["bad.zip"]


def test_a_name_that_occurs_twice_is_told_apart_by_its_folder_or_refused():
    def offered(path, content):
        return FoundFile(path, 1, lambda: io.BytesIO(content))

    name = "Fig4A_sucs_labels.txt"
    old = offered(f"old/{name}", b"x")
    chosen, _ = choose_files([old, offered(f"Fig4_Source_data/{name}", b"y")])
    assert chosen[name].path == f"Fig4_Source_data/{name}"
    with pytest.raises(MalformedDataError, match="occurs several times"):
        choose_files([old, offered(f"ExtendedFig4/{name}", b"y")])
    chosen, _ = choose_files([old, offered(f"ExtendedFig4/{name}", b"x")])
    assert chosen[name].path == f"old/{name}"


def test_a_file_whose_name_is_known_in_part_is_placed_too():
    """Tables of Extended Figures 5D and E that were written under an earlier name are read."""
    name = "FigureExt6E_whatever.csv"
    chosen, unknown = choose_files([FoundFile(f"a/{name}", 1, lambda: io.BytesIO(b"x"))])
    assert (list(chosen), unknown) == ([name], [])
    assert target_of(Path("data"), name) == Path("data/ExtendedFig5") / name


def test_a_download_does_not_mix_with_our_own_export(remote, tmp_path):
    write_table(tmp_path, "Fig4/response_mean", np.ones((2, 56)), space="BigGAN")
    write_tables(tmp_path, "Fig4", [], Provenance("recordings"), force=True)
    with pytest.raises(CannotWriteError, match="exported by this software"):
        osf.fetch(tmp_path, addresses=remote.addresses)


@pytest.mark.parametrize("text", ["{", "[]", '{"files": {"a": 1}}'])
def test_a_foreign_lock_file_is_refused(tmp_path, text):
    (tmp_path / osf.LOCK_FILE).write_text(text)
    with pytest.raises(MalformedDataError, match="not a lock file"):
        list(osf.changed_since_fetch(tmp_path))


@pytest.mark.parametrize("key", ["url", "sha256", "path", "size", "folder", "kind", "next"])
@pytest.mark.parametrize("value", [5, ["x"], {"x": 1}, -1, 1e400])
def test_a_listing_of_the_wrong_types_is_no_listing(tmp_path, monkeypatch, key, value):
    """Addresses, checksums and paths that are numbers or lists."""
    attributes = {"kind": "file", "name": "a.csv", "size": 3, "materialized_path": "/a.csv",
                  "extra": {"hashes": {"sha256": "0" * 64}}}  # fmt: skip
    item = {"attributes": attributes, "links": {"download": "https://osf.io/x"}}
    links = {"next": None}
    if key == "folder":
        attributes["kind"] = "folder"
        item["relationships"] = {"files": {"links": {"related": {"href": value}}}}
    elif key in ("url", "next"):
        (item["links"] if key == "url" else links).update({"download": value, "next": value})
    elif key == "sha256":
        attributes["extra"]["hashes"]["sha256"] = value
    else:
        attributes[{"path": "materialized_path"}.get(key, key)] = value
    page = {"data": [item], "links": links}
    monkeypatch.setattr(osf, "_read_page", lambda _: page)
    if (key, value) == ("size", 5) or key == "kind":
        assert [file.path for file in osf.list_storage()] == ["/a.csv"]
        return
    with pytest.raises(MalformedDataError, match="did not answer with a listing of files"):
        list(osf.list_storage())
