"""Generators by name, as command lines, sweep files and `evolve` take them.

torch is imported when one is loaded, not before: settings and sweep files check names without it.
"""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from core.errors import MissingDataError, UsageError, choose_from

if TYPE_CHECKING:
    from core.utils.generators.protocol import ImageGenerator

BIGGAN = "BigGAN"

#: Names of the generators that need no download → the objects they stand for.
SHORT_NAMES = {name: f"core.utils:{name}" for name in ("FaceGAN", "FourierSpace", "PixelSpace")}


def full_name(name: str) -> str:
    """Return the ``module:object`` that a short name stands for, any other name as it is."""
    return SHORT_NAMES.get(name, name)


def object_named(name: str, what: str) -> Any:
    """Import what a user calls ``module:object``.

    Raises
    ------
    UsageError, MissingDataError
        If it is not so named; if there is no such module or object.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise UsageError(f"{what} {name!r} was given; name your own as module:object.")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MissingDataError(
            f"{what} {name!r} cannot be imported: {error}; run where Python finds the module, or "
            "set PYTHONPATH."
        ) from error


def generator_named(
    name: str,
    *,
    pretrained: bool = True,
    device: str = "auto",
    seed: int = 0,
    biggan: str = "biggan-deep-256",
    precision: str = "float32",
) -> ImageGenerator:
    """Load the generator of a name.

    Parameters
    ----------
    name : str
        "BigGAN"; a DeePSim generator, such as "fc6"; "FaceGAN", "FourierSpace" or "PixelSpace"; or
        one's own as ``module:object``: a generator, or a function that returns one when it is
        called without arguments. Where the function takes `pretrained`, `device`, `seed` or
        `precision`, it is handed them.
    pretrained : bool, default True
        Whether weights are the published ones or random.
    device : str, default "auto"
    seed : int, default 0
        Of random weights.
    biggan : str
        Version of BigGAN.
    precision : {"float32", "bfloat16", "tf32"}
        Of its products; one's own function is handed it as the others.

    Raises
    ------
    UsageError, MissingDataError
        If there is no such generator, its weights are not here, or it does not keep the protocol.
    """
    from core.utils.GAN_utils import BigGAN_wrapper, loadBigGAN, upconvGAN
    from core.utils.generators.protocol import checked
    from core.utils.generators.upconv_specs import GENERATORS as UPCONV

    options: dict[str, Any] = {"pretrained": pretrained, "device": device, "seed": seed}
    if name == BIGGAN:
        return BigGAN_wrapper(loadBigGAN(biggan, **options), precision=precision)
    options["precision"] = precision
    if name in UPCONV:
        return upconvGAN(name, **options)
    if ":" not in full_name(name):
        known = [BIGGAN, *UPCONV, *SHORT_NAMES]
        raise UsageError(choose_from(name, known, "generator") + " Name your own module:object.")
    found = object_named(full_name(name), "generator")
    if isinstance(found, type) or not hasattr(found, "visualize"):
        found = found(**_accepted(found, options))
    return checked(found, f"generator {name!r}")


def _accepted(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Keep the options that a function has parameters for."""
    try:
        known = signature(function).parameters
    except (TypeError, ValueError):  # some objects of C have none
        return {}
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return {k: v for k, v in options.items() if k in known and known[k].kind in named}
