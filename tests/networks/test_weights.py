"""Weights: where they are looked for, how they are fetched, checked, and refused."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import re
import resource
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace

import pytest
import torch

from core.errors import (
    CannotWriteError,
    MalformedDataError,
    MissingDataError,
    UsageError,
)
from core.utils.GAN_utils import loadBigGAN, upconvGAN
from core.utils.generators import biggan
from core.utils.generators.caffenet import Caffenet, build_caffenet
from core.utils.generators.upconv_specs import GENERATORS, build
from core.utils.weights import fetch as weights
from core.utils.weights.command import main
from core.utils.weights.fetch import fetch, locate, required
from core.utils.weights.registry import REGISTRY, Address, Repository
from core.utils.weights.state_dicts import read_state_dict

BODY = b"weights " * 5000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves bodies by path and speaks as much of the hub's language as its client needs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.stated_sha256: dict[str, str] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.answer()
        if body is not None:
            self.wfile.write(body)

    def answer(self) -> bytes | None:
        body = self.server.bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return None
        sha256 = self.server.stated_sha256.get(self.path, hashlib.sha256(body).hexdigest())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keep the weights of these tests in a folder of their own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(folder))
    monkeypatch.delenv(weights.OFFLINE_VARIABLE, raising=False)
    return folder


@pytest.fixture
def served(server, monkeypatch):
    """Let the weights of BigGAN come from the local server."""
    server.bodies["/biggan.bin"] = BODY
    row = replace(REGISTRY["biggan-deep-256"], source=Address(f"{server.address}/biggan.bin"))
    monkeypatch.setitem(REGISTRY, row.name, row)
    return server


def point_hub_to(address, monkeypatch):
    from huggingface_hub import constants

    theirs, template = constants.ENDPOINT, constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(theirs, address))


@pytest.fixture
def hub(server, monkeypatch):
    """Let the hub's own client talk to the local server."""
    point_hub_to(server.address, monkeypatch)
    source = REGISTRY["norm1"].source
    assert isinstance(source, Repository)
    path = f"/{source.repository}/resolve/main/{source.file}"
    server.bodies[path] = BODY
    return server, path


def test_registry_lists_what_the_paper_needs():
    """All DeePSim generators, CaffeNet, BigGAN, and the networks of Figure 3, each in its file."""
    assert {*GENERATORS, "caffenet", *biggan.CONFIGS} <= set(REGISTRY)
    figure_3 = [row.name for row in REGISTRY.values() if "Figure 3" in row.used_for]
    assert figure_3 == ["resnet50_linf8", "alexnet", "vgg16", "vit_base_patch16_224_dino"]
    assert len({row.file for row in REGISTRY.values()}) == len(REGISTRY)
    assert all(row.licence for row in REGISTRY.values())


def test_addresses_of_torchvision_are_its_own():
    """So that its loaders find the same files in the same folder."""
    import torchvision.models as models

    published = {
        "alexnet": models.AlexNet_Weights.IMAGENET1K_V1,
        "vgg16": models.VGG16_Weights.IMAGENET1K_V1,
        "resnet50": models.ResNet50_Weights.IMAGENET1K_V1,
        "squeezenet1_1": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
    }
    for name, theirs in published.items():
        assert str(REGISTRY[name].source) == theirs.url
        assert theirs.url.endswith(f"-{REGISTRY[name].sha256_start}.pth")
        assert REGISTRY[name].about_mb == pytest.approx(theirs.meta["num_params"] * 4e-6, abs=1)


def test_sizes_are_those_of_the_networks():
    """Four bytes per number of the state dict."""
    with torch.device("meta"):
        networks = {name: build(spec) for name, spec in GENERATORS.items()}
        networks["caffenet"] = build_caffenet()
    networks["biggan-deep-256"] = biggan._build("biggan-deep-256")
    for name, network in networks.items():
        megabytes = 4e-6 * sum(tensor.numel() for tensor in network.state_dict().values())
        assert REGISTRY[name].about_mb == pytest.approx(megabytes, abs=0.7), name


def test_folder_is_that_of_torch_hub_unless_named(monkeypatch, tmp_path):
    """Files that the published code or torchvision fetched are found where they are."""
    monkeypatch.delenv(weights.FOLDER_VARIABLE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    assert weights.weights_folder() == tmp_path / "hub" / "checkpoints"


def path_of(name, path=None):
    """Return where the checked file of some weights lies."""
    with required(name, path) as found:
        return found


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("fc6", "upconvGAN_fc6.pt"),
        ("caffenet", "caffenet.pt"),
        ("caffenet", "upconvGAN_caffenet.pt"),
        ("biggan-deep-256", "../biggan-deep-256-pytorch_model.bin"),
        ("resnet50_linf8", "imagenet_linf_8_pure.pt"),
    ],
)
def test_files_are_found_where_the_published_code_kept_them(folder, name, place):
    """And nowhere else."""
    folder.mkdir()
    assert locate(name) is None
    (folder / place).write_bytes(b"")
    assert locate(name).samefile(folder / place)


def test_fetched_file_is_whole_recorded_and_not_fetched_again(served, folder):
    """The line beside it is what ``sha256sum --check`` reads; nothing else is left."""
    path = fetch("biggan-deep-256")
    assert path == folder / "biggan-deep-256-pytorch_model.bin"
    assert path.read_bytes() == BODY
    beside = folder / "biggan-deep-256-pytorch_model.bin.sha256"
    assert beside.read_text() == f"{SHA256}  {path.name}\n"
    assert fetch("biggan-deep-256") == path_of("biggan-deep-256") == path
    assert served.asked == ["/biggan.bin"]
    assert [file.suffix for file in sorted(folder.iterdir())] == [".bin", ".sha256"]


def test_force_fetches_again(served):
    """A new file of the server takes the place of the old one, with its checksum."""
    path = fetch("biggan-deep-256")
    served.bodies["/biggan.bin"] = b"other weights"
    assert fetch("biggan-deep-256").read_bytes() == BODY
    assert fetch("biggan-deep-256", force=True).read_bytes() == b"other weights"
    assert path_of("biggan-deep-256") == path


def test_many_jobs_fetch_a_file_once(served):
    """Those that come while one is fetching wait, and take its file."""
    jobs = [threading.Thread(target=fetch, args=("biggan-deep-256",)) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert served.asked == ["/biggan.bin"]
    assert path_of("biggan-deep-256").read_bytes() == BODY


@pytest.mark.parametrize("left", [b"half of a fil", BODY])
def test_fetch_after_a_kill_completes(served, folder, left):
    """What a killed run left is gone on with, or thrown away, but never trusted unseen."""
    staging = folder / ".biggan-deep-256.unfinished"
    staging.mkdir(parents=True)
    (staging / ".biggan.bin.unfinished").write_bytes(left)
    assert locate("biggan-deep-256") is None
    assert fetch("biggan-deep-256").read_bytes() == BODY
    assert not staging.exists()


def test_changed_file_is_refused_and_mended(served):
    """A flipped bit is found by the recorded checksum; --force brings the right file."""
    path = fetch("biggan-deep-256")
    path.write_bytes(BODY[:-1] + b"!")
    for use in (path_of, fetch):
        with pytest.raises(MalformedDataError, match=r"damaged.*fetch biggan-deep-256 --force"):
            use("biggan-deep-256")
    fetch("biggan-deep-256", force=True)
    assert path_of("biggan-deep-256").read_bytes() == BODY


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_weights_that_change_while_they_are_read_are_not_taken(served, tmp_path, given, replaced):
    """What is checked is what is parsed: written over or replaced, by file or by name."""
    path = fetch("biggan-deep-256")
    told = "pytorch_model.bin changed while it was read"
    with (
        pytest.raises(MalformedDataError, match=told),
        required("biggan-deep-256", path if given else None) as found,
    ):
        if replaced:
            (tmp_path / "new").write_bytes(BODY)
            (tmp_path / "new").replace(found)
        else:
            found.write_bytes(BODY)


def test_wrong_file_of_a_server_leaves_nothing(served, monkeypatch, folder):
    """What does not start with the published digits is never given the name."""
    row = replace(REGISTRY["biggan-deep-256"], sha256_start="0123abcd")
    monkeypatch.setitem(REGISTRY, row.name, row)
    with pytest.raises(MalformedDataError, match=f"SHA-256 is {SHA256} instead of 0123abcd"):
        fetch("biggan-deep-256")
    assert locate("biggan-deep-256") is None
    assert not [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]


def test_failed_renewal_keeps_the_earlier_file(served):
    """Also with --force nothing is removed before its successor is complete and checked."""
    fetch("biggan-deep-256")
    del served.bodies["/biggan.bin"]
    with pytest.raises(MissingDataError):
        fetch("biggan-deep-256", force=True)
    assert path_of("biggan-deep-256").read_bytes() == BODY


def test_published_digits_are_compared_without_a_record(folder):
    """A file of torchvision that came by another way is checked by its name."""
    folder.mkdir()
    (folder / REGISTRY["alexnet"].file).write_bytes(BODY)
    with pytest.raises(MalformedDataError, match="instead of 7be5be79"):
        path_of("alexnet")


def test_record_without_checksum_is_named(folder):
    """An empty .sha256 is not taken for agreement."""
    folder.mkdir()
    (folder / "upconvGAN_fc6.pt").write_bytes(BODY)
    (folder / "upconvGAN_fc6.pt.sha256").write_text("")
    with pytest.raises(MalformedDataError, match=r"upconvGAN_fc6.pt.sha256 does not hold"):
        path_of("fc6")


def test_hub_file_is_fetched_by_its_client_and_checked(hub, folder):
    """The real client, a local server: the file, its checksum, and nothing of the client's own."""
    path = fetch("norm1")
    assert path == folder / "upconvGAN_norm1.pt"
    assert path.read_bytes() == BODY
    assert [file.suffix for file in sorted(folder.iterdir())] == [".pt", ".sha256"]
    server, address = hub
    fetch("norm1")
    assert server.asked.count(address) == 1


def test_hub_file_that_is_not_what_the_hub_states_is_refused(hub):
    """The hub states the SHA-256 of large files; a wrong one is never given the name."""
    server, path = hub
    server.stated_sha256[path] = "a" * 64
    with pytest.raises(MalformedDataError, match=f"SHA-256 is {SHA256} instead of aaaa"):
        fetch("norm1")
    assert locate("norm1") is None


@pytest.mark.parametrize("name", ["norm1", "biggan-deep-256"])
def test_machine_without_network_is_told_what_to_do(name, monkeypatch, folder):
    """One error names the file, the folder, the command, and the variable of the folder."""
    point_hub_to("http://127.0.0.1:9", monkeypatch)
    row = replace(REGISTRY["biggan-deep-256"], source=Address("http://no-such-host.invalid/b"))
    monkeypatch.setitem(REGISTRY, row.name, row)
    with pytest.raises(MissingDataError) as caught:
        path_of(name)
    for part in (
        REGISTRY[name].file,
        str(folder),
        f"python -m core.utils.GAN_utils fetch {name}",
        "$NEURON_GAN_WEIGHTS",
        f"{REGISTRY[name].about_mb} MB",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (lambda: upconvGAN("fc6", device="cpu"), "upconvGAN_fc6.pt"),
        (lambda: Caffenet(device="cpu"), "caffenet.pt"),
        (lambda: loadBigGAN(device="cpu"), "biggan-deep-256-pytorch_model.bin"),
    ],
)
def test_every_loader_names_its_file_when_offline(load, file, monkeypatch):
    """HF_HUB_OFFLINE keeps all of them from the network, at once."""
    monkeypatch.setenv(weights.OFFLINE_VARIABLE, "1")
    with pytest.raises(MissingDataError, match=rf"{file}.*HF_HUB_OFFLINE is set.*GAN_utils fetch"):
        load()


def test_first_use_fetches_and_the_second_does_not(hub, tmp_path):
    """`upconvGAN("norm1")` on a machine with network, from nothing to a trained generator."""
    server, address = hub
    with torch.device("meta"):
        keys = build(GENERATORS["norm1"]).state_dict()
    published = {
        re.sub(r"\.(weight|bias)$", r".1.\1", key): torch.zeros(()).expand(tensor.shape)
        for key, tensor in keys.items()
    }
    torch.save(published, tmp_path / "w.pt")
    server.bodies[address] = (tmp_path / "w.pt").read_bytes()
    for _ in range(2):
        assert upconvGAN("norm1", device="cpu").trained
    assert server.asked.count(address) == 1


def test_missing_client_of_the_hub_is_named(monkeypatch):
    """What to install, beside how to bring the file without it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDataError, match=r"huggingface_hub.*GAN_utils fetch fc6"):
        path_of("fc6")


def test_the_robust_resnet_is_known_by_its_git_blob(served, monkeypatch, folder):
    """Another file under that address is not kept; git itself says which blob it is."""
    row = REGISTRY["resnet50_linf8"]
    assert row.git_blob == "59f4be2146d66c6f8f22e3a293f79f1d65140e57"
    assert row.source.url.endswith("/checkpoints/imagenet_linf_8_pure.pt")
    (folder.parent / "body").write_bytes(BODY)
    command = ["git", "hash-object", "--no-filters", "body"]
    told = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=True)
    right = replace(REGISTRY["biggan-deep-256"], git_blob=told.stdout.strip())
    monkeypatch.setitem(REGISTRY, right.name, replace(right, git_blob=row.git_blob))
    with pytest.raises(MalformedDataError, match=f"that git calls {right.git_blob} instead of 59f"):
        fetch(right.name)
    assert locate(right.name) is None
    monkeypatch.setitem(REGISTRY, right.name, right)
    assert fetch(right.name).read_bytes() == BODY


def test_folder_that_cannot_be_written_is_named(served, folder):
    """Nothing is started that could not be finished."""
    folder.write_text("a file in the way")
    with pytest.raises(CannotWriteError, match=r"cannot write .*NEURON_GAN_WEIGHTS"):
        fetch("biggan-deep-256")


def test_unknown_name_is_met_with_the_right_one():
    """Names are those of the list."""
    with pytest.raises(UsageError, match="Did you mean 'biggan-deep-256'"):
        path_of("biggan-256")


def test_file_of_the_user_must_exist(tmp_path):
    """`weights=PATH` names what it did not find."""
    with pytest.raises(MissingDataError, match=r"no file of weights .*mine\.pt"):
        upconvGAN("norm1", weights=tmp_path / "mine.pt", device="cpu")


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", ["zip", "legacy", "pickle"])
def test_malicious_file_is_refused_and_runs_nothing(tmp_path, write):
    """In every format of torch; the message names the file and what it asked for."""
    marker, path = tmp_path / "was_run", tmp_path / "evil.pt"
    state = {"conv1_1.bias": Malicious(marker)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=write == "zip")
    torch.load(path, weights_only=False) if write == "zip" else None
    assert marker.exists() == (write == "zip")  # it is dangerous indeed
    marker.unlink(missing_ok=True)
    told = r"evil\.pt (was refused.*nothing was run|is not a readable file of weights)"
    with pytest.raises(MalformedDataError, match=told) as caught:
        upconvGAN("norm1", weights=path, device="cpu")
    assert not marker.exists()
    if write != "pickle":
        assert "system" in str(caught.value)


class Reduced:
    """Is pickled as a call."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def _bytes_of_no_tensor(path, zipped):
    state = {"a": Reduced(bytearray, 2_000_000_000)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)


def _numbers_that_are_not_there(path, zipped):
    """Promise two milliards of numbers where 77 are."""
    torch.save({"a": torch.ones(77)}, path, _use_new_zipfile_serialization=zipped)
    few, many = b"KM", b"J" + (2**31 - 1).to_bytes(4, "little")
    if not zipped:
        path.write_bytes(path.read_bytes().replace(few, many))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(few, many))


def _deflated(path, zipped):
    torch.save({"a": torch.zeros(1 << 20)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("write", "zipped", "told"),
    [
        (_bytes_of_no_tensor, True, "bytearray, which no tensor needs"),
        (_bytes_of_no_tensor, False, "bytearray, which no tensor needs"),
        (_numbers_that_are_not_there, True, "a tensor of 2147483647 numbers in a file of"),
        (_numbers_that_are_not_there, False, "a tensor of 2147483647 numbers in a file of"),
        (_deflated, True, "more room than the file, as bombs do"),
    ],
)
def test_weights_that_grow_are_refused_before_torch_makes_room(tmp_path, write, zipped, told):
    """A few hundred bytes took 2.4 and 6.2 GB; the bounds are 20 s and 2 GB."""
    write(tmp_path / "bomb.pt", zipped)
    largest_kb, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(MalformedDataError, match=told):
        read_state_dict(tmp_path / "bomb.pt")
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest_kb < 200 << 10


def _cut(path):
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _cut_legacy(path):
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:2000])


def _web_page(path):
    path.write_text("<html>404 Not Found</html>")


def _tar(path):
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")


def _whole_module(path):
    torch.save(torch.nn.Linear(2, 2), path)


def _checkpoint(path):
    torch.save({"epoch": 3, "state_dict": {"a": torch.ones(1)}}, path)


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (_cut, "not a readable file of weights.*cut off"),
        (_cut_legacy, "not a readable file of weights.*cut off"),
        (lambda path: path.write_bytes(b""), "not a readable file of weights"),
        (_web_page, "is not a readable file of weights"),
        (_tar, "not a readable file of weights"),
        (_whole_module, r"was refused.*linear\.Linear"),
        (_checkpoint, "a dictionary with 'epoch', 'state_dict' instead of a state dict"),
        (lambda path: torch.save([torch.ones(1)], path), "holds a list instead of a state dict"),
        (lambda path: torch.save({}, path), "does not fit the network"),
    ],
)
def test_file_that_is_no_state_dict_is_named(tmp_path, write, complaint):
    """What was cut off, or holds something else, gives one sentence with the file."""
    write(tmp_path / "w.pt")
    with pytest.raises(MalformedDataError, match=rf"w\.pt.*{complaint}"):
        upconvGAN("norm1", weights=tmp_path / "w.pt", device="cpu")


def test_safetensors_are_read_too(tmp_path):
    """The format of the Figure 3 transformer; a broken one is named."""
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    assert torch.equal(read_state_dict(path)["a"], torch.arange(3.0))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(MalformedDataError, match=r"w\.safetensors is not a readable"):
        read_state_dict(path)


def test_list_says_what_is_here(served, folder, capsys):
    """Name, size, state, place and licence; --verify finds what is damaged."""
    path = fetch("biggan-deep-256")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"biggan-deep-256 +234 MB  present +{path}\n +Apache-2.0", out)
    assert re.search(r"fc6 +224 MB  absent ", out)
    assert re.search(r"resnet50_linf8 +98 MB  absent ", out)
    (folder / "caffenet.pt").write_bytes(b"?")
    assert main(["list", "--verify"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"biggan-deep-256 .* verified ", out)
    assert re.search(r"caffenet .* no checksum ", out)
    path.write_bytes(b"")
    assert main(["list", "--verify"]) == 1
    assert "DAMAGED" in capsys.readouterr().out


def test_fetch_command_says_how_much_and_where(served, tmp_path, capsys):
    """Sizes come before the download; a second run has nothing to do."""
    elsewhere = tmp_path / "usb stick"
    assert main(["fetch", "biggan-deep-256", "--folder", str(elsewhere)]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 to fetch, about 234 MB" in out
    assert str(elsewhere / "biggan-deep-256-pytorch_model.bin") in out
    assert main(["fetch", "biggan-deep-256", "--folder", str(elsewhere)]) == 0
    assert "0 of 1 to fetch" in capsys.readouterr().out
    assert served.asked == ["/biggan.bin"]


def test_fetch_goes_on_after_a_failure(served, folder, monkeypatch, capsys):
    """What can be had is had; the exit code tells of the rest."""
    fetch("biggan-deep-256")
    monkeypatch.setenv(weights.OFFLINE_VARIABLE, "1")
    assert main(["fetch", "fc6", "biggan-deep-256"]) == 3
    captured = capsys.readouterr()
    assert "upconvGAN_fc6.pt" in captured.err
    assert "biggan-deep-256-pytorch_model.bin" in captured.out


def test_fetch_without_names_takes_what_the_paper_uses(monkeypatch, capsys):
    """Not the other generators; 'all' takes the rest."""
    monkeypatch.setenv(weights.OFFLINE_VARIABLE, "1")
    assert main(["fetch"]) == 3
    paper = capsys.readouterr().err
    assert main(["fetch", "all"]) == 3
    everything = capsys.readouterr().err
    for row in REGISTRY.values():
        assert (f"error: {row.file} " in paper) == bool(row.used_for)
        assert f"error: {row.file} " in everything


@pytest.mark.parametrize("arguments", [["fetch", "fc66"], ["fetch", "all", "fc6"]])
def test_unknown_name_on_the_command_line_is_a_usage_error(arguments, capsys):
    """Exit code 2, with the names."""
    assert main(arguments) == 2
    assert "unknown name of weights" in capsys.readouterr().err
