"""Downloads from a server that misbehaves in every way that users have met."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UsageError
from core.files import UNFINISHED_SUFFIX, locked
from core.reading.download import download

BODY = bytes(range(256)) * 2000  # 512 kB
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = {"attempts": 4, "backoff_s": 0.01, "timeout_s": 0.3}

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the n-th request by the n-th step of the server's script (the last one stays)."""

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        script = server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def log_message(self, *_):
        pass

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: a client that hangs up is part of these tests."""


@pytest.fixture
def serve():
    """Start a server with a script of answers; give its address and the requests it has seen."""
    servers = []

    def start(*script: Answer) -> tuple[str, list[dict[str, str]]]:
        server = Server(("127.0.0.1", 0), Handler)
        server.script, server.requests = list(script), []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/file.bin", server.requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def whole(request: Handler) -> None:
    request.head(Content_Length=len(BODY), ETag='"one"')
    request.wfile.write(BODY)


def part(request: Handler) -> None:
    """Answer a Range request as servers do."""
    start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert request.headers["If-Range"] == '"one"'
    request.head(
        206,
        Content_Length=len(BODY) - start,
        Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}",
        ETag='"one"',
    )
    request.wfile.write(BODY[start:])


def cut(request: Handler) -> None:
    """Promise the whole file and hang up after 200 kB."""
    request.head(Content_Length=len(BODY), ETag='"one"')
    request.wfile.write(BODY[:200_000])


def status(code: int, **headers: object) -> Answer:
    return lambda request: request.head(code, Content_Length=0, **headers)


def leftovers(folder):
    return sorted(file.name for file in folder.iterdir())


def test_whole_file_arrives_with_progress_and_nothing_beside_it(serve, tmp_path):
    url, requests = serve(whole)
    seen = []
    path = download(
        url,
        tmp_path / "deep" / "file.bin",
        sha256=SHA256.upper(),
        expected_size=len(BODY),
        progress=lambda *numbers: seen.append(numbers),
    )
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert leftovers(path.parent) == ["file.bin"]
    assert path.stat().st_mode & 0o444
    assert "Range" not in requests[0]


def test_a_good_file_is_not_fetched_again_and_a_bad_one_is_replaced(serve, tmp_path):
    url, requests = serve(whole)
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    download(url, path, sha256=SHA256)
    assert not requests
    path.write_bytes(BODY[:-1])
    download(url, path, expected_size=len(BODY))
    assert len(requests) == 1
    assert path.read_bytes() == BODY


def test_what_a_killed_fetch_left_beside_a_good_file_is_removed(serve, tmp_path):
    """Unless another process is at it."""
    url, requests = serve(whole)
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    left = [tmp_path / ".file.bin.unfinished", tmp_path / ".file.bin.unfinished.json"]
    for file in left:
        file.write_text("{}")
    with locked(path):
        download(url, path, sha256=SHA256)
    assert all(file.exists() for file in left)
    download(url, path, sha256=SHA256)
    assert list(tmp_path.iterdir()) == [path]
    assert not requests


def test_cut_connection_goes_on_where_it_stopped(serve, tmp_path):
    url, requests = serve(cut, part)
    path = download(url, tmp_path / "file.bin", **QUICK)
    assert path.read_bytes() == BODY
    assert requests[1]["Range"] == "bytes=200000-"
    assert leftovers(tmp_path) == ["file.bin"]


def test_the_next_call_goes_on_where_the_last_one_gave_up(serve, tmp_path):
    """What the unfinished file holds survives the call, under a name that no reader opens."""
    url, requests = serve(cut, status(404), part)
    path = tmp_path / "file.bin"
    with pytest.raises(MissingDataError, match="404"):
        download(url, path, **QUICK)
    assert not path.exists()
    assert all(UNFINISHED_SUFFIX in name for name in leftovers(tmp_path))
    assert download(url, path, **QUICK).read_bytes() == BODY
    assert requests[-1]["Range"] == "bytes=200000-"


def test_a_changed_file_is_fetched_from_its_start(serve, tmp_path):
    """The server answers If-Range with the whole of its new file: no byte of the old one stays."""
    new = BODY[::-1]

    def newer(request):
        request.head(Content_Length=len(new), ETag='"two"')
        request.wfile.write(new)

    url, requests = serve(cut, newer)
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == new
    assert requests[1]["If-Range"] == '"one"'


@pytest.mark.parametrize("etag", ['W/"weak"', ""], ids=["weak ETag", "no ETag"])
def test_without_a_strong_validator_nothing_is_resumed(serve, tmp_path, etag):
    def cut_unmarked(request):
        request.head(Content_Length=len(BODY), **({"ETag": etag} if etag else {}))
        request.wfile.write(BODY[:1000])

    url, requests = serve(cut_unmarked, whole)
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == BODY
    assert "Range" not in requests[1]


@pytest.mark.parametrize(
    "answer",
    [
        status(416),
        lambda request: request.head(206, Content_Length=5, Content_Range="bytes 0-4/9"),
    ],
    ids=["range refused", "another range"],
)
def test_a_useless_part_makes_it_start_again(serve, tmp_path, answer):
    url, requests = serve(cut, answer, whole)
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == BODY
    assert "Range" not in requests[2]


def test_persistent_cuts_end_in_an_error_and_no_file(serve, tmp_path):
    def hang_up(request):
        request.head(Content_Length=len(BODY))
        request.wfile.write(BODY[:10])

    url, requests = serve(hang_up)
    with pytest.raises(MissingDataError, match=r"after 10 of 512000 bytes, after 4 attempts"):
        download(url, tmp_path / "file.bin", **QUICK)
    assert len(requests) == 4
    assert "file.bin" not in leftovers(tmp_path)


def test_cut_chunked_body_is_not_trusted(serve, tmp_path):
    def cut_chunks(request):
        request.protocol_version = "HTTP/1.1"
        request.close_connection = True
        request.head(Transfer_Encoding="chunked")
        request.wfile.write(b"5\r\nhello\r\n")

    def all_chunks(request):
        cut_chunks(request)
        request.wfile.write(b"1\r\n!\r\n0\r\n\r\n")

    url, _ = serve(cut_chunks, all_chunks)
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == b"hello!"


def test_a_body_of_unknown_length_needs_a_promise(serve, tmp_path):
    def unmeasured(request):
        request.head()
        request.wfile.write(BODY)

    url, _ = serve(unmeasured)
    with pytest.raises(MalformedDataError, match="does not say how long"):
        download(url, tmp_path / "file.bin", **QUICK)
    assert leftovers(tmp_path) == []
    assert download(url, tmp_path / "file.bin", sha256=SHA256, **QUICK).read_bytes() == BODY


@pytest.mark.parametrize(
    ("promise", "complaint"),
    [
        ({"sha256": "0" * 64}, f"has SHA-256 {SHA256} instead of 0000"),
        ({"expected_size": 7}, "offers a file of 512000 bytes instead of 7"),
    ],
    ids=["wrong hash", "wrong length"],
)
def test_what_breaks_a_promise_is_thrown_away(serve, tmp_path, promise, complaint):
    """An earlier file stays as it was."""
    url, requests = serve(whole)
    path = tmp_path / "file.bin"
    path.write_bytes(b"earlier file")
    with pytest.raises(MalformedDataError, match=complaint):
        download(url, path, **promise, **QUICK)
    assert path.read_bytes() == b"earlier file"
    assert leftovers(tmp_path) == ["file.bin"]
    assert len(requests) == 1


def test_server_errors_are_tried_again_with_growing_waits(serve, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("core.reading.download.time.sleep", waits.append)
    url, _ = serve(status(500), status(503), status(502), whole)
    assert download(url, tmp_path / "file.bin", **QUICK | {"backoff_s": 1}).read_bytes() == BODY
    assert waits == [1, 2, 4]


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(serve, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("core.reading.download.time.sleep", waits.append)
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    url, _ = serve(status(429, Retry_After=7), status(429, Retry_After=past), whole)
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == BODY
    assert waits == [7, 0]


def test_a_long_wait_is_left_to_the_user(serve, tmp_path):
    url, requests = serve(status(429, Retry_After=3600))
    with pytest.raises(MissingDataError, match=r"HTTP 429, and the server asks to wait 3600 s"):
        download(url, tmp_path / "file.bin", **QUICK)
    assert len(requests) == 1
    assert leftovers(tmp_path) == []


def test_redirects_are_followed_but_not_for_ever(serve, tmp_path):
    target, _ = serve(whole)
    url, _ = serve(status(302, Location=target))
    assert download(url, tmp_path / "file.bin", **QUICK).read_bytes() == BODY
    url, _ = serve(status(302, Location="/file.bin"))
    with pytest.raises(MissingDataError, match="infinite loop"):
        download(url, tmp_path / "loop.bin", **QUICK)


def test_slow_drip_and_silence_run_into_the_time_out(serve, tmp_path):
    """A byte now and then keeps no download alive."""

    def drip(request):
        request.head(Content_Length=len(BODY))
        for byte in BODY[:100]:
            request.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def silence(request):
        time.sleep(1)

    url, requests = serve(drip, silence)
    start = time.monotonic()
    with pytest.raises(MissingDataError, match="timed out, after 2 attempts"):
        download(url, tmp_path / "file.bin", **QUICK | {"attempts": 2})
    assert time.monotonic() - start < 3
    assert len(requests) == 2


def test_nobody_listening(tmp_path):
    with pytest.raises(MissingDataError, match="refused"):
        download("http://127.0.0.1:1/file", tmp_path / "file.bin", **QUICK | {"attempts": 2})


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/file", "file.bin"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(UsageError, match="only http"):
        download(url, tmp_path / "file.bin")


def test_a_file_in_the_way_of_the_folder(serve, tmp_path):
    url, _ = serve(whole)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CannotWriteError, match="cannot write"):
        download(url, tmp_path / "taken" / "file.bin")


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks on Windows")
def test_processes_that_want_the_same_file_fetch_it_once(serve, tmp_path):
    def slow(request):
        request.head(Content_Length=len(BODY))
        time.sleep(0.5)
        request.wfile.write(BODY)

    url, requests = serve(slow)
    code = f"from core.reading.download import download; download({url!r}, {str(tmp_path / 'f')!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(30) for process in processes] == [0] * 4
    assert len(requests) == 1
    assert (tmp_path / "f").read_bytes() == BODY
    assert leftovers(tmp_path) == ["f"]
