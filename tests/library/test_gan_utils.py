"""Generators and CaffeNet against the published layout, closed forms and independent networks."""

from __future__ import annotations

import math
import re
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedDataError, UsageError
from core.utils.GAN_utils import (
    BigGAN_wrapper,
    Caffenet,
    loadBigGAN,
    multiZupconvGAN,
    upconvGAN,
)
from core.utils.generators import biggan
from core.utils.generators.caffenet import INPUT_SIZES, build_caffenet
from core.utils.generators.named import generator_named
from core.utils.generators.upconv_specs import GENERATORS, build
from core.utils.weights.give_weights import flat_key
from core.utils.weights.state_dicts import load_strictly
from tests.closeness import assert_same_pass

# What each layer computes, written from the description of the published networks: operation
# (L linear, C convolution, T transposed convolution), channels in and out, kernel, stride, padding.
# A "-" after it says that no leaky rectifier follows.
TAIL_FC = """
    deconv4 T 512 256 4 2 1
    conv4_1 T 256 256 3 1 1
    deconv3 T 256 128 4 2 1
    conv3_1 T 128 128 3 1 1
    deconv2 T 128 64 4 2 1
    deconv1 T 64 32 4 2 1
    deconv0 T 32 3 4 2 1 -
"""
FC = """
    defc7 L {code} 4096
    defc6 L 4096 4096
    defc5 L 4096 4096
    reshape
    deconv5 T 256 256 4 2 1
    conv5_1 T 256 512 3 1 1
"""
CONV = """
    Rconv6 C 384 384 3 1 0
    Rconv7 C 384 512 3 1 0
    Rconv8 C 512 512 2 1 0
    deconv5 T 512 256 4 2 1
    conv5_1 T 256 256 3 1 1
    deconv4 T 256 128 4 2 1
    conv4_1 T 128 128 3 1 1
    deconv3 T 128 128 4 2 1
    conv3_1 T 128 128 3 1 1
    deconv2 T 128 64 4 2 1
    conv2_1 C 64 32 3 1 1
    deconv1 T 32 16 4 2 1
    conv1_1 C 16 3 3 1 1 -
    tanh
    scaling
"""
TAIL_NORM = """
    deconv4 T 128 128 4 2 1
    conv4_1 C 128 128 3 1 1
    deconv3 T 128 64 4 2 1
    conv3_1 C 64 64 3 1 1
    deconv2 T 64 32 4 2 1
    conv2_1 C 32 32 3 1 1
    deconv1 T 32 16 4 2 1 -
    conv1_1 C 16 3 3 1 1 -
    tanh
    scaling
"""
PUBLISHED = {
    **{name: ((4096,), FC.format(code=4096) + TAIL_FC) for name in ("fc6", "fc6_eucl", "fc7")},
    "fc8": ((1000,), FC.format(code=1000) + TAIL_FC),
    "pool5": (
        (256, 6, 6),
        """
    Rconv6 C 256 512 3 1 1
    Rconv7 C 512 512 3 1 1
    Rconv8 C 512 512 3 1 0
    deconv5 T 512 256 4 2 1
    conv5_1 T 256 512 3 1 1
    """
        + TAIL_FC,
    ),
    "conv3": ((384, 13, 13), CONV),
    "conv4": ((384, 13, 13), CONV),
    "norm1": (
        (96, 27, 27),
        """
    Rconv6 C 96 128 3 2 2
    Rconv7 C 128 128 3 1 1
    Rconv8 C 128 128 3 1 1
    """
        + TAIL_NORM,
    ),
    "norm2": (
        (256, 13, 13),
        """
    Rconv6 C 256 256 3 1 2
    Rconv7 C 256 128 3 1 1
    Rconv8 C 128 128 3 1 1
    """
        + TAIL_NORM,
    ),
}
IMAGE_PIXELS = {name: 240 if name.startswith("norm") else 256 for name in PUBLISHED}
RGB_MEAN = torch.tensor([123.0, 117.0, 104.0])[:, None, None]

CAFFENET_SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
CAFFENET_CHILDREN = """
    conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5
    flatten fc6 relu6 fc7 relu7 fc8
"""

#: Full intensity of images in grey levels.
WHITE = 255.0


def layers_of(name: str) -> list[list[str]]:
    return [line.split() for line in PUBLISHED[name][1].split("\n") if line.strip()]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict, from the table above."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, *rest in layers_of(name):
        if not rest:
            continue
        kind, (inputs, outputs, *window) = rest[0], map(int, [n for n in rest[1:] if n != "-"])
        kernel = (window[0], window[0]) if window else ()
        order = (inputs, outputs) if kind == "T" else (outputs, inputs)
        shapes |= {f"{layer}.weight": (*order, *kernel), f"{layer}.bias": (outputs,)}
    return shapes


def by_the_table(name: str, state: dict[str, torch.Tensor], maps: torch.Tensor) -> torch.Tensor:
    """Compute a generator without any of its modules."""
    for layer, *rest in layers_of(name):
        if layer == "reshape":
            maps = maps.view(-1, 256, 4, 4)
        elif layer == "tanh":
            maps = torch.tanh(maps)
        elif layer == "scaling":
            maps = 255 * maps
        else:
            weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
            window = [int(n) for n in rest[4:6]]
            compute = {"L": F.linear, "C": F.conv2d, "T": F.conv_transpose2d}[rest[0]]
            maps = compute(maps, weight, bias, *window)
            if rest[-1] != "-":
                maps = torch.where(maps > 0, maps, 0.3 * maps)
    return maps


def published_form(shapes: dict[str, tuple[int, ...]], fill: dict[str, torch.Tensor]):
    """Return a state dict with the nested keys of the published files; zeros take no space."""
    return {
        re.sub(r"\.(weight|bias)$", r".1.\1", key): fill.get(key, torch.zeros(()).expand(shape))
        for key, shape in shapes.items()
    }


@pytest.fixture
def file_of(tmp_path):
    """Save a state dict in the published form, zeros but for what is given."""

    def save(shapes, **fill):
        path = tmp_path / "weights.pt"
        torch.save(published_form(shapes, {k.replace("__", "."): v for k, v in fill.items()}), path)
        return path

    return save


@pytest.fixture(scope="module")
def norm1() -> upconvGAN:
    return upconvGAN("norm1", pretrained=False, device="cpu")


@pytest.fixture(scope="module")
def fc6() -> upconvGAN:
    return upconvGAN("fc6", pretrained=False, device="cpu")


@pytest.fixture(scope="module")
def caffenet() -> Caffenet:
    return Caffenet(pretrained=False, device="cpu")


#: BigGAN, but small: five blocks, 8 channels, images of 16 pixels.
TINY_BIGGAN = {
    "output_dim": 16, "channel_width": 8, "attention_layer_position": 1,
    "layers": [(False, 16, 16), (True, 16, 8), (True, 8, 4), (False, 4, 2), (False, 2, 1)],
}  # fmt: skip


@pytest.fixture
def tiny_biggan(monkeypatch):
    monkeypatch.setitem(biggan.CONFIGS, "biggan-deep-256", TINY_BIGGAN)


@pytest.fixture(scope="module")
def made_once() -> BigGAN_wrapper:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(biggan.CONFIGS, "biggan-deep-256", TINY_BIGGAN)
        return BigGAN_wrapper(loadBigGAN(pretrained=False, device="cpu"))


@pytest.fixture
def wrapper(made_once) -> BigGAN_wrapper:
    """Return a small BigGAN that a test may change."""
    return deepcopy(made_once)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_generator_has_the_published_weights(name):
    """Names, order and shapes of the state dict; a file with the nested keys loads strictly."""
    with torch.device("meta"):
        network = build(GENERATORS[name])
    shapes = shapes_of(name)
    assert [(key, tuple(w.shape)) for key, w in network.state_dict().items()] == list(
        shapes.items()
    )
    nested = published_form(shapes, {})
    assert all(".1." in key for key in nested)
    load_strictly(network, {flat_key(key): tensor for key, tensor in nested.items()}, name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_children_carry_the_published_names(name):
    """Rectifiers are relu_<layer>, but Rrelu6 to 8, and stand where the table says."""
    expected = []
    for layer, *rest in layers_of(name):
        expected.append(layer)
        if rest and rest[-1] != "-":
            expected.append(layer.replace("Rconv", "Rrelu") if "R" in layer else f"relu_{layer}")
    with torch.device("meta"):
        network = build(GENERATORS[name])
    assert [child for child, _ in network.named_children()] == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_sampled_codes_are_valid_for_every_generator(name, file_of):
    """Also for those whose code is a map; images have the published size (shapes only, no sums)."""
    generator = upconvGAN(name, weights=file_of(shapes_of(name)), device="cpu").to("meta")
    assert generator.latent_shape == PUBLISHED[name][0]
    assert generator.codelen == math.prod(PUBLISHED[name][0])
    codes = generator.sample_vector(2)
    assert codes.shape == (2, generator.codelen)
    assert generator.visualize(codes).shape == (2, 3, IMAGE_PIXELS[name], IMAGE_PIXELS[name])


@pytest.mark.numerics
@pytest.mark.parametrize("name", ["norm1", "norm2", "conv3", "pool5"])
def test_maps_become_the_image_of_the_table(name, rng):
    """An independent network with the same weights gives the same image."""
    generator = upconvGAN(name, pretrained=False, device="cpu")
    state = {
        key: tensor + torch.from_numpy(rng.normal(0, 0.01, tensor.shape)).float()
        for key, tensor in generator.G.state_dict().items()
    }
    generator.G.load_state_dict(state)
    code = generator.sample_vector(1, seed=rng)
    expected = by_the_table(name, state, code.view(1, *generator.latent_shape))
    assert_same_pass(generator(code), expected[:, [2, 1, 0]], scale=WHITE)


@pytest.mark.numerics
def test_vectors_become_the_image_of_the_table(fc6):
    """The same for the generator that the paper uses most."""
    code = fc6.sample_vector(1, seed=3)
    expected = by_the_table("fc6", fc6.G.state_dict(), code)
    assert_same_pass(fc6(code), expected[:, [2, 1, 0]], scale=WHITE)


def test_image_is_mean_plus_output_in_rgb(file_of):
    """With zero weights the image is the last bias: BGR to RGB, mean added, clamped, scaled."""
    bgr = torch.tensor([10.0, -200.0, 250.0])
    path = file_of(shapes_of("fc6"), deconv0__bias=bgr)
    generator = upconvGAN("fc6", weights=path, device="cpu")
    codes = generator.sample_vector(2)
    raw, image = generator(codes), generator.visualize(codes, scale=2.0)
    assert generator.trained
    assert torch.equal(raw[1, :, 5, 7], torch.tensor([250.0, -200.0, 10.0]))
    expected = torch.tensor([255.0, 0.0, 114.0]) / 255 * 2
    torch.testing.assert_close(image[1, :, 200, 100], expected)
    torch.testing.assert_close(image[0].amax((1, 2)), expected)


def test_tanh_generators_stay_within_255_grey_levels(file_of):
    """The norm and conv generators end in 255 tanh."""
    path = file_of(shapes_of("norm2"), conv1_1__bias=torch.tensor([50.0, 0.0, 0.5]))
    raw = upconvGAN("norm2", weights=path, device="cpu")(np.zeros((1, 256 * 13 * 13)))
    expected = torch.tensor([255 * math.tanh(0.5), 0.0, 255.0])
    torch.testing.assert_close(raw[0, :, 0, 0], expected)


def test_flat_codes_maps_and_arrays_are_the_same_code(norm1):
    """What is sampled flat may be given as maps, as an array, and in double precision."""
    codes = norm1.sample_vector(2, seed=1)
    image = norm1.visualize(codes)
    assert torch.equal(norm1.visualize(codes.view(2, 96, 27, 27)), image)
    assert torch.equal(norm1.visualize(codes.double().numpy()), image)


@pytest.mark.parametrize(
    "shape", [(2, 96), (96 * 27 * 27,), (2, 27, 27, 96), (1, 2, 96 * 27 * 27), ()]
)
def test_codes_of_another_shape_are_refused(norm1, shape):
    """The message gives both shapes that a code may have."""
    with pytest.raises(UsageError, match=r"\(n, 69984\) or \(n, 96, 27, 27\)"):
        norm1.visualize(torch.zeros(shape))


def test_gradients_reach_the_code_and_nothing_else(norm1):
    """The network is frozen and in eval mode; images depend on the code."""
    code = norm1.sample_vector(1, seed=0).requires_grad_()
    norm1.visualize(code).sum().backward()
    assert code.grad.abs().sum() > 0
    assert not norm1.training
    assert not any(p.requires_grad or p.grad is not None for p in norm1.parameters())


@pytest.mark.numerics
def test_batches_give_the_images_of_one_call(norm1):
    """On the CPU, without gradient, whatever the batch size; also as arrays for plotting."""
    codes = norm1.sample_vector(3, seed=2)
    images = norm1.visualize(codes.requires_grad_(), scale=WHITE)
    batched = norm1.visualize_batch(codes, WHITE, 2)
    assert_same_pass(batched, images, scale=WHITE)
    assert not batched.requires_grad
    array = codes.detach().numpy()
    assert_same_pass(norm1.visualize_batch_np(array, WHITE, 1), batched, scale=WHITE)
    rendered = norm1.render(array)
    assert [image.shape for image in rendered] == [(240, 240, 3)] * 3
    assert_same_pass(rendered[2][10, 20], batched[2, :, 10, 20] / WHITE, scale=1)


@pytest.mark.numerics
def test_batches_shrink_when_memory_runs_out(norm1, monkeypatch):
    """The images come all the same."""
    codes = norm1.sample_vector(3, seed=2)
    expected = norm1.visualize(codes)
    forward, sizes = norm1.G.forward, []

    def small(maps):
        sizes.append(len(maps))
        if len(maps) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(maps)

    monkeypatch.setattr(norm1.G, "forward", small)
    assert_same_pass(norm1.visualize_batch(codes), expected, scale=1)
    assert sizes == [3, 1, 1, 1]


def test_sampling_is_a_function_of_the_seed(norm1):
    """Codes are normal with the deviation asked for; without a seed they differ."""
    codes = norm1.sample_vector(2, noise_std=3.0, seed=5)
    assert torch.equal(codes, norm1.sample_vector(2, noise_std=3.0, seed=np.random.default_rng(5)))
    assert not torch.equal(codes, norm1.sample_vector(2, noise_std=3.0))
    assert codes.std().item() == pytest.approx(3.0, abs=0.03)  # 140,000 numbers
    assert codes.mean().item() == pytest.approx(0.0, abs=0.03)


def test_untrained_weights_are_a_function_of_the_seed(norm1):
    """Two networks of one seed are equal, of two seeds not; the label says untrained."""
    same, other = (upconvGAN("norm1", False, device="cpu", seed=seed) for seed in (0, 1))
    assert torch.equal(same.G.Rconv6.weight, norm1.G.Rconv6.weight)
    assert not torch.equal(other.G.Rconv6.weight, norm1.G.Rconv6.weight)
    assert not norm1.trained
    assert "norm1, UNTRAINED" in repr(norm1)


def test_trained_network_does_not_say_untrained(file_of):
    """Weights of the user count as trained."""
    network = upconvGAN(
        "norm1", pretrained=False, weights=file_of(shapes_of("norm1")), device="cpu"
    )
    assert network.trained
    assert "UNTRAINED" not in repr(network)


def test_second_arguments_are_as_published_and_ours_go_by_name(norm1, request):
    """White in DeePSim and the truncation in BigGAN: `scale=` and `truncation=` say which."""
    wrapper = request.getfixturevalue("wrapper")
    code = norm1.sample_vector(1, seed=0)
    assert_same_pass(norm1.render(code, 9.0)[0], norm1.render(code, scale=9.0)[0], scale=9)
    code = wrapper.sample_vector(1, seed=0)
    assert_same_pass(wrapper.render(code, 0.4)[0], wrapper.render(code, truncation=0.4)[0])
    for draw, published in ((norm1.sample_vector, (1, "cpu", 1.0)),
                            (wrapper.sample_vector, (1, 5, "cpu", 0.7, None))):  # fmt: skip
        assert len(draw(*published)) == 1
        with pytest.raises(TypeError, match="positional argument"):
            draw(*published, 3)


@pytest.mark.parametrize("name", ["fc6", "norm1"])
def test_untrained_images_show_something(name, request):
    """Contrast is visible, little is clipped, and two codes give two images."""
    generator = request.getfixturevalue(name)
    images = generator.visualize_batch(generator.sample_vector(2, seed=0), 255.0)
    assert 15 < images.std((2, 3)).mean() < 100
    assert ((images == 0) | (images == 255)).float().mean() < 0.25
    assert (images[0] - images[1]).abs().mean() > 10


def test_unknown_generator_is_named_with_its_neighbours():
    """A slip of the pen is met with the right name."""
    with pytest.raises(UsageError, match=r"unknown generator 'fc_6'. Did you mean 'fc6'"):
        upconvGAN("fc_6", pretrained=False)


def _without(state):
    del state["deconv4.1.weight"]


def _with_another(state):
    state["deconv9.1.bias"] = torch.zeros(3)


def _misshaped(state):
    state["deconv1.1.bias"] = torch.zeros(17)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without, r"1 missing: deconv4\.weight"),
        (_with_another, r"1 not known: deconv9\.bias"),
        (_misshaped, r"1 of another shape: deconv1\.bias \(17,\) instead of \(16,\)"),
    ],
)
def test_weights_that_do_not_fit_are_reported_by_key(tmp_path, spoil, complaint):
    """Nothing is loaded in part."""
    state = published_form(shapes_of("norm1"), {})
    spoil(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(MalformedDataError, match=rf"w\.pt does not fit .*{complaint}"):
        upconvGAN("norm1", weights=tmp_path / "w.pt", device="cpu")


def test_weights_of_half_precision_are_widened(file_of):
    """The network computes in single precision whatever the file holds."""
    path = file_of(shapes_of("norm1"), conv1_1__bias=torch.ones(3, dtype=torch.float16))
    assert upconvGAN("norm1", weights=path, device="cpu").G.conv1_1.bias.dtype == torch.float32


@pytest.mark.numerics
def test_blend_of_one_code_is_that_code(fc6):
    """With a single code of weight one the blending generator is the plain one."""
    blender = multiZupconvGAN(pretrained=False, device="cpu")
    code = fc6.sample_vector(1, seed=4)
    plain = blender.visualize(code[:, None], torch.ones(1, 1, 512))
    assert_same_pass(plain, fc6.visualize(code), scale=1)
    assert not blender.trained


@pytest.mark.numerics
def test_blend_follows_its_equation():
    """Maps of several codes are added channel by channel; the rest of the network follows."""
    blender = multiZupconvGAN("conv3_1", "norm1", pretrained=False, device="cpu")
    codes = blender.generator.sample_vector(4, seed=4).view(2, 2, -1)
    alpha = torch.rand(2, 2, 64, generator=torch.Generator().manual_seed(0))
    maps = [blender.pre(codes[:, z].view(2, 96, 27, 27)) for z in (0, 1)]
    mixed = sum(alpha[:, z, :, None, None] * maps[z] for z in (0, 1))
    expected = blender.post(mixed.clone())[:, [2, 1, 0]]
    assert_same_pass(blender(codes, alpha), expected, scale=WHITE)


def test_blend_refuses_what_does_not_fit():
    """Weights of another shape, and layers that do not exist, are named."""
    blender = multiZupconvGAN("conv3_1", "norm1", pretrained=False, device="cpu")
    codes = torch.zeros(1, 2, blender.generator.codelen)
    with pytest.raises(UsageError, match=r"z_alpha of shape \(1, 2, 128\).*take \(1, 2, 64\)"):
        blender(codes, torch.zeros(1, 2, 128))
    with pytest.raises(UsageError, match="unknown layer of generator 'fc6' 'conv5_2'"):
        multiZupconvGAN("conv5_2", pretrained=False)


def test_caffenet_has_the_published_layers():
    """Children in order, state dict by name and shape."""
    with torch.device("meta"):
        network = build_caffenet()
    assert [name for name, _ in network.named_children()] == CAFFENET_CHILDREN.split()
    shapes = {}
    for name, shape in CAFFENET_SHAPES.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}
    assert {key: tuple(w.shape) for key, w in network.state_dict().items()} == shapes
    load_strictly(network, {flat_key(k): w for k, w in published_form(shapes, {}).items()}, "file")


def local_response_norm(maps: torch.Tensor) -> torch.Tensor:
    """Divide by (1 + 1e-4/5 * sum of squares over 5 channels)^0.75, written out."""
    squares = F.pad(maps**2, (0, 0, 0, 0, 2, 2))
    sums = sum(squares[:, k : k + maps.shape[1]] for k in range(5))
    return maps / (1 + 1e-4 / 5 * sums) ** 0.75


def caffenet_by_hand(s: dict[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
    def conv(name, x, **window):
        return F.conv2d(x, s[f"{name}.weight"], s[f"{name}.bias"], **window)

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    out = {"conv1": conv("conv1", x, stride=4)}
    out["norm1"] = local_response_norm(pool(out["conv1"].relu()))
    out["conv2"] = conv("conv2", out["norm1"], padding=2, groups=2)
    out["norm2"] = local_response_norm(pool(out["conv2"].relu()))
    out["conv3"] = conv("conv3", out["norm2"], padding=1)
    out["conv4"] = conv("conv4", out["conv3"].relu(), padding=1, groups=2)
    out["conv5"] = conv("conv5", out["conv4"].relu(), padding=1, groups=2)
    x = pool(out["conv5"].relu()).reshape(len(x), -1)
    for name in ("fc6", "fc7", "fc8"):
        x = out[name] = F.linear(x.relu(), s[f"{name}.weight"], s[f"{name}.bias"])
    return out


def test_caffenet_computes_what_it_says(caffenet, rng):
    """Every layer agrees with functions written out; hooks see each layer's own output."""
    image = torch.from_numpy(rng.uniform(0, 2, (1, 3, 224, 224))).float()
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, out))
        for name, layer in caffenet.net.named_children()
    ]
    found = caffenet(image, preproc=True, scale=2.0)
    for hook in hooks:
        hook.remove()
    x = (image / 2 * 255 - RGB_MEAN)[:, [2, 1, 0]]
    expected = caffenet_by_hand(caffenet.net.state_dict(), x)
    for name, maps in expected.items():
        torch.testing.assert_close(seen[name], maps, rtol=1e-3, atol=1e-3)
    assert seen["conv1"].min() < 0
    torch.testing.assert_close(found, expected["fc8"], rtol=1e-3, atol=1e-3)
    assert [seen[f"pool{k}"].shape[-1] for k in (1, 2, 5)] == [27, 13, 6]
    assert seen["conv1"].shape[-1] == 54


def test_caffenet_can_stop_at_the_code_of_fc6(caffenet):
    """-3 ends after the rectifier of fc6."""
    x = torch.randn(1, 3, 227, 227, generator=torch.Generator().manual_seed(0)) * 50
    code = caffenet(x, output_layer_idx=-3)
    assert code.shape == (1, 4096)
    assert code.min() == 0
    assert torch.equal(code, caffenet.net.relu6(caffenet.net[:17](x)))
    assert caffenet(x, output_layer_idx=1).shape == (1, 96, 55, 55)


@pytest.mark.parametrize("pixels", [INPUT_SIZES[0], INPUT_SIZES[-1]])
def test_caffenet_takes_the_sizes_that_end_as_six_by_six(pixels):
    """The bounds are those of the layers themselves."""
    with torch.device("meta"):
        maps = build_caffenet()[:15]
        sizes = [maps(torch.zeros(1, 3, p, p)).shape[-1] for p in (pixels - 1, pixels, pixels + 1)]
    assert sizes[1] == 6
    assert sizes.count(6) == 2


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((1, 3, 256, 256), "256 x 256 pixels.*199 to 230, usually 227: resize"),
        ((3, 227, 227), r"\(3, 227, 227\).*takes \(n, 3, height, width\)"),
        ((1, 227, 227, 3), r"takes \(n, 3, height, width\)"),
    ],
)
def test_caffenet_refuses_other_images(caffenet, shape, complaint):
    """A wrong size or order of axes is named before any layer runs."""
    with pytest.raises(UsageError, match=complaint):
        caffenet(torch.zeros(shape))


def test_untrained_caffenet_says_so_and_keeps_the_signal(caffenet):
    """Activity neither dies nor explodes on its way to the last layer."""
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 60
    assert 5 < caffenet(x).std() < 500
    assert not caffenet.trained
    assert "UNTRAINED" in repr(caffenet)


@pytest.mark.parametrize(
    ("version", "pixels", "millions"),
    [
        ("biggan-deep-128", 128, 50.4),
        ("biggan-deep-256", 256, 55.9),
        ("biggan-deep-512", 512, 56.2),
    ],
)
def test_biggan_versions_have_their_size(version, pixels, millions):
    """Pixels and number of parameters, without computing a pixel."""
    network = biggan._build(version).to("meta").eval()  # as it is used
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    with torch.device("meta"):
        assert network.generator(torch.zeros(1, 256), 0.7).shape == (1, 3, pixels, pixels)


@pytest.mark.numerics
def test_biggan_images_follow_the_closed_form(wrapper):
    """(output + 1) / 2, clamped, scaled; batches and arrays give the same."""
    codes = wrapper.sample_vector(3, seed=0)
    raw = wrapper.BigGAN.generator(codes, 0.7)
    images = wrapper.visualize(codes, 2.0)
    assert_same_pass(images, ((raw + 1) / 2).clamp(0, 1) * 2, scale=2)
    assert_same_pass(wrapper.visualize_batch(codes, 2.0, 2), images, scale=2)
    assert_same_pass(wrapper.visualize_batch_np(codes.numpy(), 0.7, 1) * 2, images, scale=2)
    rendered = wrapper.render(codes, 0.7, 2)
    assert rendered[1].shape == (16, 16, 3)
    assert_same_pass(rendered[1][3, 4], images[1, :, 3, 4] / 2, scale=1)


def test_biggan_codes_are_noise_then_class(wrapper):
    """The second half is the column of the embedding; a class for all, for each, or drawn."""
    embedding = wrapper.BigGAN.embeddings.weight
    codes = wrapper.sample_vector(400, class_id=7, seed=0)
    assert codes.shape == (400, 256)
    assert torch.equal(codes[:, 128:], embedding[:, 7].expand(400, 128))
    assert codes[:, :128].std().item() == pytest.approx(0.7, abs=0.01)
    assert codes[:, :128].abs().max() > 1.4  # not cut
    each = wrapper.sample_vector(2, class_id=[3, 999], seed=0)[:, 128:]
    assert torch.equal(each, embedding[:, [3, 999]].T)
    drawn = wrapper.sample_vector(50, seed=0)[:, 128:]
    assert len(drawn.unique(dim=0)) > 40
    assert torch.equal(drawn, wrapper.sample_vector(50, seed=0)[:, 128:])


def test_truncated_noise_is_cut_at_two_deviations(wrapper):
    """The variance is that of a normal distribution between -2 and 2, times the truncation²."""
    noise = wrapper.sample_vector(600, noise_truncation=0.5, seed=1)[:, :128]
    assert noise.abs().max() <= 1.0
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    expected_sd = 0.5 * math.sqrt(1 - 4 * density / mass)
    assert noise.std().item() == pytest.approx(expected_sd, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"noise_std": 1.0, "noise_truncation": 1.0}, "both given"),
        ({"class_id": 1000}, "one of 0 to 999"),
        *(({"noise_truncation": bad}, "noise_truncation .* number above 0, up to 1")
          for bad in (-1, 0, 5, math.nan, "0.7", True)),
        *(({"noise_std": bad}, "noise_std .* number from 0") for bad in (-1, math.inf, "1")),
        ({"class_id": -1}, "one of 0 to 999"),
        ({"class_id": [1, 2, 3]}, "2 of them, one for each code"),
        ({"class_id": 2.5}, "one of 0 to 999"),
    ],
)
def test_impossible_codes_are_refused(wrapper, arguments, complaint):
    """The message says what may be asked for."""
    with pytest.raises(UsageError, match=complaint):
        wrapper.sample_vector(2, **arguments)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e20])
@pytest.mark.parametrize("name", ["norm1", "wrapper"])
def test_codes_that_make_no_image_are_refused(name, bad, request):
    generator = request.getfixturevalue(name)
    codes = generator.sample_vector(2, seed=0)
    codes[1, 3] = bad
    with pytest.raises(UsageError, match=r"number of size (nan|inf|1e\+20) .*finite numbers"):
        generator.visualize(codes)


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.01, math.nan, "0.7"])
def test_bn_truncation_out_of_range_is_refused(wrapper, truncation):
    """Statistics exist from above 0 to 1."""
    with pytest.raises(UsageError, match="bn_truncation"):
        wrapper.visualize(torch.zeros(1, 256), bn_truncation=truncation)


@pytest.mark.numerics
def test_published_name_of_bn_truncation_is_accepted(wrapper):
    """`truncation=` chooses the statistics; these matter, the noise is the caller's."""
    generator = torch.Generator().manual_seed(0)
    for name, rows in wrapper.BigGAN.named_buffers():
        if name.endswith("running_means"):
            rows.copy_(torch.randn(rows.shape, generator=generator))
    codes = wrapper.sample_vector(2, seed=0)
    found = wrapper.visualize_batch(codes, truncation=0.4)
    assert_same_pass(found, wrapper.visualize(codes, bn_truncation=0.4), scale=1)
    assert not torch.allclose(found, wrapper.visualize(codes), atol=1e-3)


def row_of_statistics(truncation: float) -> float:
    """Which row (with fraction) the package takes for what we tell it."""
    from pytorch_pretrained_biggan.model import BigGANBatchNorm

    layer = BigGANBatchNorm(1, n_stats=51, conditional=False, eps=0.0)
    layer.running_means[:, 0] = -torch.arange(51.0)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer(torch.zeros(1, 1, 1, 1), biggan._package_truncation(truncation, 51)).item()


@pytest.mark.parametrize("row", range(1, 51))
def test_statistics_of_a_row_are_taken_from_that_row(row):
    """Also where rounding misleads the package: it takes row 28 for 0.58."""
    assert row_of_statistics(row / 50) == pytest.approx(row, abs=1e-5)
    assert row_of_statistics(row * 0.02) == pytest.approx(row, abs=1e-5)


def test_published_truncation_is_handed_on_as_it_is():
    """At 0.7 the package is right by itself, so images are those of the published code."""
    assert biggan._package_truncation(0.7, 51) == 0.7


@given(truncation=st.floats(0.001, 1.0))
@settings(max_examples=50, deadline=None)
def test_statistics_between_rows_are_interpolated(truncation):
    """Linearly, where the package swaps the two weights."""
    assert row_of_statistics(truncation) == pytest.approx(50 * truncation, abs=1e-4)


@pytest.mark.usefixtures("tiny_biggan")
def test_biggan_weights_are_checked_key_by_key(wrapper, tmp_path, caplog):
    """The package loads a file with gaps; we name the gap. What is too much is only mentioned."""
    state = wrapper.BigGAN.state_dict()
    path = tmp_path / "biggan.bin"
    torch.save(state | {"discriminator.weight": torch.zeros(1)}, path)
    loaded = BigGAN_wrapper(loadBigGAN(weights=path, device="cpu"))
    assert loaded.trained
    assert "UNTRAINED" not in repr(loaded) + repr(loaded.BigGAN)
    assert "not used: discriminator.weight" in caplog.text
    codes = wrapper.sample_vector(1, seed=0)
    assert_same_pass(loaded.visualize(codes), wrapper.visualize(codes), scale=1)
    del state["generator.layers.1.gamma"]
    torch.save(state, path)
    with pytest.raises(MalformedDataError, match=r"1 missing: generator\.layers\.1\.gamma"):
        loadBigGAN(weights=path, device="cpu")


@pytest.mark.usefixtures("tiny_biggan")
def test_untrained_biggan_is_seeded_normalised_and_labelled(wrapper):
    """Spectral norms are 1 as in training, the seed decides, and both names say untrained."""
    for _, module in wrapper.BigGAN.named_modules():
        if hasattr(module, "weight_orig"):
            wrapper.visualize(torch.zeros(1, 256))
            norm = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
            assert norm == pytest.approx(1.0, abs=0.25)
            break
    again = BigGAN_wrapper(loadBigGAN(pretrained=False, device="cpu"))
    codes = wrapper.sample_vector(2, seed=0)
    assert torch.equal(codes, again.sample_vector(2, seed=0))
    assert torch.equal(wrapper.visualize(codes), again.visualize(codes))
    other = BigGAN_wrapper(loadBigGAN(pretrained=False, device="cpu", seed=1))
    assert not torch.equal(wrapper.visualize(codes), other.visualize(codes))
    assert not wrapper.trained
    assert "biggan-deep-256, UNTRAINED" in repr(wrapper)
    assert "biggan-deep-256, UNTRAINED" in repr(wrapper.BigGAN)


def test_biggan_is_frozen_and_passes_gradients(wrapper):
    """Also a network that comes from elsewhere is frozen and put into eval mode."""
    wrapper.BigGAN.train().requires_grad_(True)
    frozen = BigGAN_wrapper(wrapper.BigGAN)
    assert not frozen.BigGAN.training
    assert not any(p.requires_grad for p in frozen.BigGAN.parameters())
    code = frozen.sample_vector(1, seed=0).requires_grad_()
    frozen.visualize(code).sum().backward()
    assert code.grad.abs().sum() > 0


def test_unknown_biggan_is_named():
    """The versions are listed."""
    with pytest.raises(UsageError, match="Did you mean 'biggan-deep-256'"):
        loadBigGAN("biggan-256", pretrained=False)


def test_bfloat16_images_are_rendered(norm1):
    """Numpy has no such type: pictures come as single precision, near those of the network."""
    codes = norm1.sample_vector(1, seed=0)
    expected = norm1.render(codes)[0]
    halved = upconvGAN("norm1", pretrained=False, device="cpu").bfloat16()
    (picture,) = halved.render(codes)
    assert picture.dtype == np.float32
    assert np.abs(picture - expected).mean() < 0.02


def test_every_generator_by_name_takes_a_precision(tiny_biggan):
    """In bfloat16 its images are still float32 numbers in 0 to 1."""
    for name in ("BigGAN", "norm1"):
        generator = generator_named(name, pretrained=False, device="cpu", precision="bfloat16")
        assert generator.precision == "bfloat16"
        images = generator.visualize(generator.sample_vector(1, seed=0))
        assert images.dtype == torch.float32
        assert 0 <= images.min() < images.max() <= 1
