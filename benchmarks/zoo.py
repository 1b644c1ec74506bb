"""Every layer of every network, and a unit of it, against a plain cloning hook.

``python -m benchmarks.zoo`` goes through torchvision's classifiers and a sample of timm's,
untrained and at small size, and counts what is right, what is refused and what is wrong;
``--family`` takes one network of each family of torchvision and the sample of timm's, and names can
be given instead.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.zoo"))

import argparse
import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UsageError
from core.utils.CNN_scorers import TorchScorer
from core.utils.layers.outputs import element_of

#: Sides that are tried before the network's own, pixels.
SIDES = (64, 96)
#: Images, and how many of them make a pass.
IMAGES, BATCHES = 3, (2, 3)
#: Layers that are recorded at a time; bounds the memory.
AT_ONCE = 40
#: Largest difference that batches may make, as a share of the largest value of a layer.
TOLERANCE = 1e-3

#: A small network of each family of torchvision.
FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32",
    "wide_resnet50_2",
)  # fmt: skip

#: Small networks of timm, each of another kind.
TIMM = (
    "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "coat_lite_tiny", "coatnet_0_224",
    "convit_tiny", "convmixer_768_32", "convnext_atto", "convnextv2_atto", "crossvit_9_240",
    "cspresnet50", "davit_tiny", "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224",
    "dla34", "dm_nfnet_f0", "edgenext_xx_small", "efficientformer_l1", "efficientvit_b0",
    "eva02_tiny_patch14_224", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_100",
    "gmlp_s16_224", "hardcorenas_a", "hgnet_tiny", "hrnet_w18_small", "inception_next_tiny",
    "inception_v4", "lcnet_050", "levit_128s", "maxvit_tiny_tf_224", "mixer_s16_224",
    "mobilevit_xxs", "mvitv2_tiny", "nest_tiny", "pit_ti_224", "poolformer_s12", "pvt_v2_b0",
    "repvgg_a0", "res2net50_26w_4s", "resmlp_12_224", "resnest14d", "resnetv2_50", "rexnet_100",
    "sequencer2d_s", "skresnet18", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256",
    "tf_efficientnet_lite0", "tiny_vit_5m_224", "tinynet_e", "tnt_s_patch16_224", "twins_svt_small",
    "visformer_tiny", "vit_tiny_patch16_224", "volo_d1_224", "xcit_nano_12_p16_224",
)  # fmt: skip


@dataclass
class Found:
    """What came out for one network.

    Attributes
    ----------
    name : str
    side : int
        Of its input, pixels.
    counts : collections.Counter
        Of ``layers``, ``recordings`` and ``units`` that are right, of ``refused`` layers by
        reason, and of layers that ``never ran``.
    wrong : list of str
        Layers whose recording or unit is not that of the hook.
    """

    name: str
    side: int
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def compare(scorer: TorchScorer) -> Found:
    """Read every layer and its middle unit, and compare with a plain cloning hook."""
    network = scorer.model
    found = Found(scorer.name, scorer.input.shape[-1])
    source = torch.Generator().manual_seed(3)
    images = torch.rand((IMAGES, *scorer.input.shape), generator=source)
    hooked = cloned(network, scorer.preprocess(images, input_scale=1))
    paths = [path for path, _ in network.named_modules() if path]
    for some in batched(paths, AT_ONCE):
        scorer.cleanup()
        readable = list(_readable(scorer, some, hooked, found))
        for batch in BATCHES if readable else ():
            recorded = scorer.respond(images, B=batch).recordings
            for path, output in readable:
                _compare_layer(path, output, hooked[path], recorded, batch, found)
    return found


def _compare_layer(
    path: str, output: Any, hooked: Any, recorded: dict[str, Any], batch: int, found: Found
) -> None:
    expected = output.images_first(element_of(hooked, output.element, path))
    for kind, values in (("recordings", expected), ("units", _middle(output, expected))):
        key = path if kind == "recordings" else f"unit of {path}"
        if not _equal(torch.as_tensor(recorded[key]), values):
            found.wrong.append(f"{key} in batches of {batch}")
        elif batch == BATCHES[0]:
            found.counts[kind] += 1


def batched(paths: list[str], size: int) -> Iterator[list[str]]:
    """Split a list; `itertools.batched` came with Python 3.12."""
    for first in range(0, len(paths), size):
        yield paths[first : first + size]


def _readable(
    scorer: TorchScorer, paths: Iterable[str], hooked: dict[str, Any], found: Found
) -> Iterator[tuple[str, Any]]:
    """Select each layer and its middle unit; count those that are refused."""
    for path in paths:
        found.counts["layers"] += 1
        try:
            output = scorer.layer(path)
            scorer.set_recording(path)
        except UsageError as error:
            ran = path in hooked
            reason = str(error)
            kinds = {"no axis counts": "images cannot be told apart", "not return": "no tensor"}
            kind = next((name for words, name in kinds.items() if words in reason), "other")
            found.counts["never ran" if not ran else f"refused: {kind}"] += 1
            continue
        if output.channel_axis is None:
            found.counts["channels left open"] += 1
        scorer.set_unit(f"unit of {path}", path, middle_of(output))
        yield path, output


def middle_of(output: Any) -> Any:
    """Return the middle unit in the order in which units are given; a mask if that is unknown."""
    if output.channel_axis is None:
        mask = torch.zeros(output.shape, dtype=torch.bool)
        mask[tuple(length // 2 for length in output.shape)] = True
        return mask
    return tuple(length // 2 for length in output.unit_shape)


def _middle(output: Any, expected: Tensor) -> Tensor:
    """Return the same unit from the whole output, by plain indexing."""
    middle = expected[(slice(None), *(length // 2 for length in output.shape))]
    return middle[:, None] if output.channel_axis is None else middle


def cloned(network: nn.Module, inputs: Tensor) -> dict[str, Any]:
    """Run a network once and keep a copy of the last output of every module."""
    outputs: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(layer: nn.Module, given: Any, output: Any) -> None:
            outputs[path] = _copy(output)

        return hook

    handles = [m.register_forward_hook(keep(path)) for path, m in network.named_modules() if path]
    with torch.no_grad():
        network.eval()(inputs)
    for handle in handles:
        handle.remove()
    return outputs


def _copy(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, tuple | list):
        return type(output)(map(_copy, output)) if type(output) in (tuple, list) else output
    if isinstance(output, dict):
        return {key: _copy(value) for key, value in output.items()}
    return output


def _equal(got: Tensor, expected: Tensor) -> bool:
    if got.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return bool((got == expected).all())
    if not expected.isfinite().all():
        return bool(torch.equal(got.isfinite(), expected.isfinite()))
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return bool((got - expected).abs().max() <= TOLERANCE * max(scale, 1e-6))


def scorer_of(name: str) -> TorchScorer:
    """Load an untrained network at the smallest side that it takes."""
    for side in (*SIDES, None):
        scorer = TorchScorer(name, imgpix=side, pretrained=False, device="cpu")
        try:
            scorer.layers  # noqa: B018
        except UsageError:
            continue
        return scorer
    raise UsageError(f"{name} runs at no side, not even its own.")


def networks_of(names: Iterable[str]) -> Iterator[Found]:
    """Compare networks one by one."""
    for name in names:
        yield compare(scorer_of(name))
        gc.collect()


def main() -> int:
    """Print a line for every network and the sums."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks (default: torchvision's and timm's)")
    parser.add_argument("--family", action="store_true", help="one network of each family")
    given = parser.parse_args()
    from torchvision import models

    of_torchvision = FAMILIES if given.family else models.list_models(module=models)
    names = given.names or (*of_torchvision, *TIMM)
    total: Counter[str] = Counter()
    wrong: list[str] = []
    for name in names:
        start = time.perf_counter()
        try:
            (found,) = networks_of([name])
        except Exception as error:
            total["networks that failed"] += 1
            print(f"{name:32} FAILED {type(error).__name__}: {str(error)[:140]}", flush=True)
            continue
        total += found.counts
        total["networks"] += 1
        wrong += [f"{name} {layer}" for layer in found.wrong]
        told = ", ".join(f"{key} {count}" for key, count in sorted(found.counts.items()))
        print(
            f"{name:32} {found.side:4} px {time.perf_counter() - start:5.0f} s  {told}, wrong "
            f"{len(found.wrong)}",
            flush=True,
        )
    print("\n".join(wrong[:40]))
    print("sum: " + ", ".join(f"{key} {count}" for key, count in sorted(total.items())))
    print(f"wrong: {len(wrong)}")
    return 1 if wrong else 0
