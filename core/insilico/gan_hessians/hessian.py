"""How fast an image changes along each direction of its latent code: the Hessian of a distance.

For a generator G and a distance D between images, H(z₀) = ∂²/∂z² D(G(z₀), G(z)) at z = z₀ (Wang &
Ponce 2021, "The geometry of deep generative image models"). Large eigenvalues belong to directions
that change the image most.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch.func import jvp, vmap

from core.errors import UsageError, UserError, choose_from
from core.utils.batching import batch_from_memory, is_out_of_memory, over_batches
from core.utils.GAN_utils import ImageGenerator

Images = torch.Tensor

#: Distances between images (n, 3, h, w) in [0, 1] and others of the same shape: (n,). One that is
#: the squared length between vectors of images is derived faster, if its `vectors` gives these.
Distance = Callable[[Images, Images], torch.Tensor]

#: Exact, from first derivatives; Lanczos with exact products; Lanczos with central differences.
METHODS = ("BP", "BackwardIter", "ForwardIter")

#: Bytes of image derivatives that are kept: all of fc6, 4096 images of 256 x 256 pixels.
KEPT_BYTES = 4 << 30

#: Vectors of images that are derived together; LPIPS has two million numbers in each.
VECTORS_AT_ONCE = 8

#: Most slope of a distance between equal images, as a share of what a step of 1 changes in it.
FLAT = 1e-2

#: Relative tolerance of the eigenvalues, and most products, of a Lanczos run.
LANCZOS_TOLERANCE, LANCZOS_MOST_RESTARTS = 1e-6, 200


class Eigenpairs(NamedTuple):
    """A symmetric matrix by its eigenvectors.

    Attributes
    ----------
    eigvals : numpy.ndarray
        (k,) ascending.
    eigvects : numpy.ndarray
        (d, k) as columns.
    H : numpy.ndarray
        (d, d) the matrix, or its approximation by the k pairs.
    """

    eigvals: NDArray[np.float64]
    eigvects: NDArray[np.float64]
    H: NDArray[np.float64]


def mean_squared_error(first: Images, second: Images) -> torch.Tensor:
    """Mean over pixels and colours of the squared difference, (n,)."""
    return (first - second).square().flatten(1).mean(dim=1)


def hessian_compute(
    G: ImageGenerator,
    feat: torch.Tensor | NDArray[np.floating],
    ImDist: Distance,
    hessian_method: str = "BackwardIter",
    cutoff: int | None = None,
    preprocess: Callable[[Images], Images] = lambda images: images,
    EPS: float = 1e-3,
    seed: int | np.random.Generator = 0,
) -> Eigenpairs:
    """Compute the Hessian of an image distance at one latent code.

    Parameters
    ----------
    G : ImageGenerator
        Its `visualize` must let gradients flow to the codes.
    feat : tensor or array
        (d,) or (1, d), the code z₀.
    ImDist : callable
        Distance between two sets of images, differentiable, zero between equal images.
    hessian_method : {"BP", "BackwardIter", "ForwardIter"}
        Exact, from d derivatives of the image; Lanczos with exact Hessian-vector products; Lanczos
        with central differences of the gradient, for networks without second derivatives.
    cutoff : int, optional
        Eigenpairs of largest magnitude that Lanczos finds, below d; by default d/2 − 1.
    preprocess : callable, optional
        Applied to the images before they are compared, such as a resize.
    EPS : float, default 1e-3
        ForwardIter: step relative to the length of the code.
    seed : int or numpy.random.Generator, default 0
        Of the first vector of Lanczos.

    Returns
    -------
    Eigenpairs
        Ascending; all d of them with BP.

    Raises
    ------
    UsageError
        If the method is unknown, or code or cutoff are out of range. BP: if the distance is not
        least between equal images, or torch cannot derive the generator forwards.
    UserError
        If Lanczos does not converge.
    """
    if hessian_method not in METHODS:
        raise UsageError(choose_from(hessian_method, METHODS, "method for a Hessian"))
    code = torch.as_tensor(feat).detach().reshape(1, -1).to(G.device, torch.float32)
    d = code.shape[1]
    if d != G.codelen:
        raise UsageError(f"a code of {d} numbers was given; this generator takes {G.codelen}.")
    landscape = _Landscape(G, code, ImDist, preprocess)
    if hessian_method == "BP":
        return eigenpairs_of(landscape.exact())
    k = max(d // 2 - 1, 1) if cutoff is None else cutoff
    if not 1 <= k < d:
        raise UsageError(f"cutoff {k} was given; Lanczos finds 1 to {d - 1} eigenpairs.")
    product = (
        landscape.backward_product()
        if hessian_method == "BackwardIter"
        else landscape.forward_product(EPS)
    )
    return _lanczos(product, d, k, np.random.default_rng(seed))


def eigenpairs_of(H: NDArray[np.float64]) -> Eigenpairs:
    """Return all eigenpairs of a matrix, made symmetric first."""
    symmetric = (H + H.T) / 2
    eigvals, eigvects = np.linalg.eigh(symmetric)
    return Eigenpairs(eigvals, eigvects, symmetric)


def mean_hessian(hessians: Iterable[NDArray[np.floating]]) -> Eigenpairs:
    """Average matrices, one in memory at a time, and return the eigenpairs of the mean.

    Raises
    ------
    UsageError
        If there is none.
    """
    total, n = np.zeros(()), 0
    for H in hessians:
        total = total + H
        n += 1
    if n == 0:
        raise UsageError("there is no Hessian to average.")
    return eigenpairs_of(np.asarray(total / n, dtype=np.float64))


class _Landscape:
    """The distance from the image of one code, around that code."""

    def __init__(
        self,
        generator: ImageGenerator,
        code: torch.Tensor,
        distance: Distance,
        preprocess: Callable[[Images], Images],
    ) -> None:
        self._generator, self._code = generator, code
        self._distance, self._preprocess = distance, preprocess
        with torch.no_grad():
            self._reference = preprocess(generator.visualize(code))

    def gradient(self, code: torch.Tensor, keep_graph: bool = False) -> torch.Tensor:
        """Return ∇ D(G(z₀), G(z)) at a code that requires gradients, (1, d)."""
        image = self._preprocess(self._generator.visualize(code))
        distance = self._distance(self._reference, image).sum()
        (gradient,) = torch.autograd.grad(distance, code, create_graph=keep_graph)
        return gradient

    def exact(self) -> NDArray[np.float64]:
        """Return Jᵀ M J: J derives the image by the code, M the distance twice by the image.

        Second derivatives of the generator do not count, as the distance is least here.
        """
        d, pixels = self._code.numel(), self._reference.numel()
        most = max(KEPT_BYTES // (pixels * self._reference.element_size()), 1)
        axes, batch_size = torch.eye(d).to(self._code), batch_from_memory(self._code.device)
        curve, H = self._curve(), np.zeros((d, d))
        for first in range(0, d, most):
            kept = self._reference.new_empty(min(most, d - first), pixels)
            moved = partial(self._moved, axes[first:])
            for rows, images in over_batches(moved, d - first, batch_size):
                part = kept[rows]
                part[:] = images[: len(part)].flatten(1)
                known = kept[: rows.stop]
                H[first:][rows, first : first + len(known)] = _as_array(curve(images) @ known.T)
        return np.tril(H) + np.tril(H, -1).T

    def _moved(self, axes: torch.Tensor, rows: slice) -> Images:
        """Return derivatives of the image along axes (n, d) of the code."""

        def image(code: torch.Tensor) -> Images:
            return self._preprocess(self._generator.visualize(code))

        return _forwards(image, self._code, axes[rows, np.newaxis])

    def _curve(self) -> Callable[[Images], torch.Tensor]:
        """Return images → M images, (n, pixels)."""
        image = self._reference.clone().requires_grad_()
        if (vectors := getattr(self._distance, "vectors", None)) is not None:
            return _squared_length_curve(vectors, image)
        distance = self._distance(self._reference, image).sum()
        (slope,) = torch.autograd.grad(distance, image, create_graph=True)

        def curve(images: Images) -> torch.Tensor:
            curved = [
                torch.autograd.grad(slope, image, one, retain_graph=True)[0].flatten()
                for one in images
            ]
            product = torch.stack(curved)
            if slope.abs().max() > FLAT * product.abs().max():
                raise UsageError(
                    "this distance is not least between equal images: it has a slope there. BP "
                    "takes only distances that are; take BackwardIter."
                )
            return product

        return curve

    def backward_product(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return v → H v, the gradient of (gradient · v)."""
        code = self._code.clone().requires_grad_()
        gradient = self.gradient(code, keep_graph=True)

        def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            direction = torch.as_tensor(vector.reshape(1, -1)).to(gradient)
            (column,) = torch.autograd.grad(
                gradient, code, grad_outputs=direction, retain_graph=True
            )
            return _as_array(column)[0]

        return product

    def forward_product(
        self, relative_step: float
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return v → (∇D(z₀ + εv) − ∇D(z₀ − εv)) / 2ε with ε = relative_step · |z₀| / |v|."""
        length = float(self._code.norm()) or 1.0  # at the origin: steps of absolute length

        def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            direction = torch.as_tensor(vector.reshape(1, -1)).to(self._code)
            step = relative_step * length / float(direction.norm())
            ahead, behind = (
                self.gradient((self._code + sign * step * direction).requires_grad_())
                for sign in (1, -1)
            )
            return _as_array((ahead - behind) / (2 * step))[0]

        return product


def _squared_length_curve(
    vectors: Callable[[Images], torch.Tensor], image: Images
) -> Callable[[Images], torch.Tensor]:
    """Return images → 2 Vᵀ V images, (n, pixels), where V derives the vectors by the image."""
    found = vectors(image)

    def few(images: Images) -> torch.Tensor:
        along = 2 * _forwards(vectors, image.detach(), images)
        (curved,) = torch.autograd.grad(
            found, image, along, retain_graph=True, is_grads_batched=True
        )
        return curved.flatten(1)

    return lambda images: torch.cat([few(part) for part in images.split(VECTORS_AT_ONCE)])


def _forwards(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Return the derivatives of a function along directions, each of the shape of `at`."""

    def along(direction: torch.Tensor) -> torch.Tensor:
        return jvp(function, (at,), (direction,))[1]

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch deprecates what it uses here
            return vmap(along)(directions)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(
            f"torch finds no forward derivatives here ({str(error).splitlines()[0]}); BP needs "
            "them, take BackwardIter."
        ) from error


def _lanczos(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    d: int,
    k: int,
    rng: np.random.Generator,
) -> Eigenpairs:
    operator = LinearOperator((d, d), matvec=product, dtype=np.float64)
    try:
        eigvals, eigvects = eigsh(
            operator, k=k, which="LM", v0=rng.standard_normal(d), tol=LANCZOS_TOLERANCE,
            maxiter=LANCZOS_MOST_RESTARTS,
        )  # fmt: skip
    except ArpackNoConvergence as error:
        raise UserError(
            f"Lanczos found {len(error.eigenvalues)} of {k} eigenpairs and did not converge; ask "
            "for fewer (cutoff), or use BP."
        ) from error
    order = np.argsort(eigvals)
    eigvals, eigvects = eigvals[order], eigvects[:, order]
    return Eigenpairs(eigvals, eigvects, (eigvects * eigvals) @ eigvects.T)


def _as_array(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
