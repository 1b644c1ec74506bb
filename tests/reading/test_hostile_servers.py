"""Servers that answer nonsense, too slowly, too much, or send on to where they should not."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.reading import download as module
from core.reading.download import download

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def serving(*parts, pause_s=0.0, forever=b""):
    """Answer every connection with parts, a pause after each; then go on for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def answer(connection):
        with connection:
            try:
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                    if stopped.wait(pause_s):
                        return
                while forever and not stopped.is_set():
                    connection.sendall(forever)
            except OSError:
                pass

    def loop():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
    finally:
        stopped.set()
        listener.close()


def head(*lines):
    return b"\r\n".join([OK.strip(), *lines, b"", b""])


@pytest.mark.parametrize("size", [None, 3])
def test_a_body_longer_than_announced_is_refused(tmp_path, size):
    """Its end would be lost without a word."""
    with serving(head(b"Content-Length: 3"), b"abcdef") as url:
        with pytest.raises(MalformedDataError, match="more than the 3 bytes that"):
            download(url, tmp_path / "f", expected_size=size, attempts=1)
        assert list(tmp_path.iterdir()) == []


def test_a_connection_that_stays_open_after_the_end_holds_nobody_up(tmp_path):
    with serving(head(b"Content-Length: 3") + b"abc", pause_s=20) as url:
        started = time.monotonic()
        assert download(url, tmp_path / "f", attempts=1).read_bytes() == b"abc"
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "length", [b"abc", b"9" * 5_000, b"-1", "²".encode("latin-1"), b"2 ", b"1e3", b""]
)
def test_lengths_that_are_no_numbers_end_in_a_sentence(tmp_path, length):
    with (
        serving(head(b"Content-Length: " + length) + b"ok") as url,
        pytest.raises((MalformedDataError, MissingDataError), match=r"long|does not say|ok"),
    ):
        if download(url, tmp_path / "f", attempts=1, timeout_s=2).read_bytes() == b"ok":
            raise MissingDataError("ok")  # "2 " is a length after all
    assert not [path for path in tmp_path.iterdir() if path.name != "f"]


def test_two_lengths_are_refused(tmp_path):
    answer = head(b"Content-Length: 2", b"Content-Length: 3") + b"okk"
    with serving(answer) as url, pytest.raises(MalformedDataError, match=r"2 and 3"):
        download(url, tmp_path / "f", attempts=1)


@pytest.mark.parametrize(
    "wait", ["²", "10" * 2_000, "Fri, 31 Dec 100000000000000000000 00:00:00 GMT", "soon", "-3"]
)
def test_waits_that_are_no_times_are_left_out(tmp_path, wait):
    lines = (b"HTTP/1.1 429 Wait", b"Retry-After: " + wait.encode("latin-1"), b"Content-Length: 0")
    with (
        serving(b"\r\n".join([*lines, b"", b""])) as url,
        pytest.raises(MissingDataError, match="HTTP 429"),
    ):
        download(url, tmp_path / "f", attempts=2, backoff_s=0.01)


@pytest.mark.parametrize(
    "target",
    ["http://[bad/", "http://a..b/", "http://" + "x" * 70 + ".org/", "ftp://127.0.0.1/f",
     "file:///etc/hostname", "http://", "gopher://x"],
)  # fmt: skip
def test_redirects_to_nowhere_end_in_a_sentence(tmp_path, target):
    answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(answer) as url, pytest.raises((MalformedDataError, MissingDataError)) as caught:
        download(url, tmp_path / "f", attempts=1, timeout_s=2)
    assert "127.0.0.1" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_redirect_from_outside_to_this_machine_is_followed(tmp_path, monkeypatch):
    """A machine of the lab, or the page of its router, is not fetched for a stranger."""
    with serving(head(b"Content-Length: 2") + b"ok") as inside:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {inside}\r\nContent-Length: 0\r\n\r\n"
        with serving(answer.encode()) as outside:
            assert download(outside, tmp_path / "a").read_bytes() == b"ok"
            private = module._is_private
            monkeypatch.setattr(module, "_is_private", lambda url: url != outside and private(url))
            with pytest.raises(MalformedDataError, match="an address of this machine"):
                download(outside, tmp_path / "b")


@pytest.mark.parametrize(
    ("host", "private"),
    [("127.0.0.1", True), ("[::1]", True), ("10.1.2.3", True), ("192.168.0.1", True),
     ("169.254.169.254", True), ("localhost", True), ("8.8.8.8", False), ("[2001:4860::1]", False)],
)  # fmt: skip
def test_addresses_of_this_network_are_told_from_others(host, private):
    assert module._is_private(f"http://{host}:8080/f") is private


@pytest.mark.parametrize("promise", [{"expected_size": 10}, {"max_size": 1 << 20}])
def test_an_endless_body_stops_at_the_promised_size(tmp_path, promise):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with (
        serving(head(b"Transfer-Encoding: chunked"), forever=chunk) as url,
        pytest.raises(MalformedDataError, match="sends more than"),
    ):
        download(url, tmp_path / "f", **promise)
    assert list(tmp_path.iterdir()) == []


def test_an_announced_terabyte_is_refused_at_once(tmp_path):
    with (
        serving(head(b"Content-Length: 1000000000000") + b"x") as url,
        pytest.raises(MalformedDataError, match="sends more than"),
    ):
        download(url, tmp_path / "f", max_size=1 << 20)


def _drip(data):
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    "parts",
    [
        _drip(head(b"Content-Length: 2")),
        [head(b"Transfer-Encoding: chunked"), *_drip(b"2;" + b"x" * 99)],
    ],
    ids=["head", "chunk extension"],
)  # fmt: skip
def test_what_comes_too_slowly_ends_in_time(tmp_path, parts):
    """Whatever part of the answer it is."""
    started = time.monotonic()
    with (
        serving(*parts, pause_s=0.2) as url,
        pytest.raises(MissingDataError, match="after 1 attempts"),
    ):
        download(url, tmp_path / "f", attempts=1, timeout_s=1, expected_size=2)
    assert time.monotonic() - started < 6


def _link(path, victim):
    path.symlink_to(victim)


def _hard_link(path, victim):
    os.link(victim, path)


@pytest.mark.parametrize("make", [_link, _hard_link])
@pytest.mark.parametrize("name", [".f.unfinished", ".f.lock"])
def test_a_link_at_an_unfinished_name_is_not_followed(tmp_path, make, name):
    """In a folder that others may write, they could let it point to any file of the user."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    make(tmp_path / name, victim)
    with (
        serving(head(b"Content-Length: 2") + b"ok") as url,
        pytest.raises(CannotWriteError, match="cannot write"),
    ):
        download(url, tmp_path / "f", attempts=1)
    assert victim.read_text() == "mine"


def test_a_link_at_the_note_of_an_unfinished_file_is_replaced(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".f.unfinished.json").symlink_to(victim)
    with serving(head(b"Content-Length: 2") + b"ok") as url:
        assert download(url, tmp_path / "f", attempts=1).read_bytes() == b"ok"
    assert victim.read_text() == "mine"


def test_a_pipe_at_an_unfinished_name_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / ".f.unfinished")
    with (
        serving(head(b"Content-Length: 2") + b"ok") as url,
        pytest.raises(CannotWriteError, match="cannot write"),
    ):
        download(url, tmp_path / "f", attempts=1)
