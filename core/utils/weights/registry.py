"""Every file of weights that the project reads: its source, its size, its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError, choose_from

_DEEPSIM_REPOSITORY = "binxu/DeePSim_DosovitskiyBrox2016"
_BIGGAN_ADDRESS = "https://s3.amazonaws.com/models.huggingface.co/biggan"
_ROBUST_ADDRESS = (
    "https://raw.githubusercontent.com/Animadversio/Closed-loop-visual-insilico/HEAD/checkpoints"
)
_TORCHVISION_ADDRESS = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class Repository:
    """A file of a Hugging Face repository."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"https://huggingface.co/{self.repository}"


@dataclass(frozen=True)
class Address:
    """A file that is fetched over HTTP."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Weights:
    """One row of the registry.

    Attributes
    ----------
    name : str
        How loaders and the command line call it.
    file : str
        Its name in the folder of the weights.
    source : Repository or Address
    about_mb : int
        Size in MB (10⁶ bytes), from the number of parameters (4 bytes each).
    licence : str
        As far as its publisher states one.
    used_for : str
        Where the paper uses it; empty if it does not.
    other_places : tuple of str
        Relative to the folder, where published code kept it.
    sha256_start : str
        The first digits of its SHA-256, where the publisher states them in the file name.
    git_blob : str
        SHA-1 by which git knows the file, where its publisher keeps it in a repository.
    """

    name: str
    file: str
    source: Repository | Address
    about_mb: int
    licence: str
    used_for: str = ""
    other_places: tuple[str, ...] = ()
    sha256_start: str = ""
    git_blob: str = ""


_DEEPSIM_LICENCE = "see the repository; by Dosovitskiy & Brox 2016"


def _deepsim(name: str, about_mb: int, used_for: str = "") -> Weights:
    file = f"upconvGAN_{name}.pt"
    return Weights(
        name, file, Repository(_DEEPSIM_REPOSITORY, file), about_mb, _DEEPSIM_LICENCE, used_for
    )


def _biggan(name: str, about_mb: int, used_for: str = "") -> Weights:
    file = f"{name}-pytorch_model.bin"
    return Weights(
        name, file, Address(f"{_BIGGAN_ADDRESS}/{file}"), about_mb,
        "Apache-2.0 (DeepMind, TensorFlow Hub)", used_for, other_places=(f"../{file}",),
    )  # fmt: skip


def _torchvision(name: str, file: str, about_mb: int, used_for: str) -> Weights:
    sha256_start = Path(file).stem.rpartition("-")[2]
    return Weights(
        name, file, Address(f"{_TORCHVISION_ADDRESS}/{file}"), about_mb,
        "BSD-3-Clause (torchvision)", used_for, sha256_start=sha256_start,
    )  # fmt: skip


_ROWS = (
    _deepsim("fc6", 224, "the texture space: evolutions, Figures 3 and Ext. 5"),
    _deepsim("fc6_eucl", 224),
    _deepsim("fc7", 224),
    _deepsim("fc8", 174),
    _deepsim("pool5", 51),
    _deepsim("conv3", 32),
    _deepsim("conv4", 32),
    _deepsim("norm1", 4),
    _deepsim("norm2", 7),
    Weights(
        "caffenet", "caffenet.pt", Repository(_DEEPSIM_REPOSITORY, "caffenet.pt"), 244,
        "unrestricted use (BVLC reference model)", "latent-code linearity, Ext. Figure 5",
        other_places=("upconvGAN_caffenet.pt",),
    ),
    _biggan("biggan-deep-128", 211),
    _biggan("biggan-deep-256", 234, "the object space: evolutions, Figures 3 and Ext. 5"),
    _biggan("biggan-deep-512", 236),
    Weights(
        "resnet50_linf8",
        "imagenet_linf_8_pure.pt",
        # The L-infinity 8/255 ResNet50 of MadryLab/robustness, as a plain state dict.
        Address(f"{_ROBUST_ADDRESS}/imagenet_linf_8_pure.pt"),
        98,
        "MIT (MadryLab/robustness)",
        "image similarity, Figure 3; paired evolution, Ext. Figure 5",
        git_blob="59f4be2146d66c6f8f22e3a293f79f1d65140e57",
    ),
    _torchvision("resnet50", "resnet50-0676ba61.pth", 102, "paired evolution, Ext. Figure 5"),
    _torchvision("alexnet", "alexnet-owt-7be5be79.pth", 244, "image similarity, Figure 3"),
    _torchvision("vgg16", "vgg16-397923af.pth", 553, "image similarity, Figure 3"),
    Weights(
        "vit_base_patch16_224_dino", "vit_base_patch16_224.dino.safetensors",
        Repository("timm/vit_base_patch16_224.dino", "model.safetensors"), 343,
        "Apache-2.0 (Meta, timm)", "image similarity, Figure 3",
    ),
    _torchvision(
        "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 5, "LPIPS of the GAN Hessians, Ext. Figure 5"
    ),
)

#: Every file of weights that the project can read, by name.
REGISTRY = {row.name: row for row in _ROWS}


def weights_named(name: str) -> Weights:
    """Return one row of `REGISTRY`; a `UsageError` lists them all."""
    if name not in REGISTRY:
        raise UsageError(choose_from(name, REGISTRY, "name of weights"))
    return REGISTRY[name]
