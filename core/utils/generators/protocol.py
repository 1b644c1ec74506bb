"""What a generator of images is: the protocol that evolutions, Hessians and labels accept.

An own generator is any object with these members. Nothing needs to be inherited; `checked` says in
one sentence what is missing. On command lines it is named ``module:object``, where the object is
such a generator or a function without arguments that returns one.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from core.errors import UsageError

#: Codes from which the usual size of a code is measured.
_SAMPLES = 64

Codes = torch.Tensor | np.ndarray


@runtime_checkable
class ImageGenerator(Protocol):
    """From codes to images.

    Attributes
    ----------
    codelen : int
        Numbers in a code.
    trained : bool
        Whether the weights were learnt; a space without weights counts as trained. Pictures of
        untrained generators are marked.
    device : torch.device
        Where images are made.
    """

    codelen: int
    trained: bool

    @property
    def device(self) -> torch.device:
        """Where images are made."""

    def visualize(self, codes: Codes, scale: float = 1.0) -> torch.Tensor:
        """Return images (n, 3, height, width) in 0 to scale, with the graph to the codes."""

    def sample_vector(
        self, sampn: int = 1, *, device: Any = None, seed: int | np.random.Generator | None = None
    ) -> torch.Tensor:
        """Return random codes (sampn, codelen) of the usual size."""


def checked(generator: Any, name: str = "the generator") -> ImageGenerator:
    """Return a generator that keeps the protocol.

    Raises
    ------
    UsageError
        Naming what it lacks, or what is wrong with the images of one random code.
    """
    members = ("codelen", "trained", "device", "visualize", "sample_vector")
    missing = [member for member in members if not hasattr(generator, member)]
    if missing:
        raise UsageError(
            f"{name} ({type(generator).__name__}) lacks {', '.join(missing)}; a generator has "
            "codelen, trained, device, visualize(codes) and sample_vector(n, seed=...)."
        )
    with torch.no_grad():
        codes = generator.sample_vector(1, seed=0)
        images = generator.visualize(codes)
    if tuple(codes.shape) != (1, generator.codelen):
        raise UsageError(
            f"sample_vector(1) of {name} returned shape {tuple(codes.shape)}; its codelen says "
            f"(1, {generator.codelen})."
        )
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.shape[:2] != (1, 3):
        raise UsageError(
            f"visualize of {name} returned {_shape(images)} for one code; needed is a tensor "
            "(1, 3, height, width)."
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise UsageError(
            f"images of {name} lie between {images.min():.3g} and {images.max():.3g}; they must "
            "lie in 0 to 1."
        )
    return generator


def code_scale(generator: ImageGenerator) -> float:
    """Return the usual size of one number of a code: the root mean square over random codes."""
    codes = generator.sample_vector(_SAMPLES, seed=0)
    return float(codes.double().square().mean().sqrt())


def _shape(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
