"""GAN Hessians against generators whose Hessian is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import MalformedDataError, UsageError
from core.insilico.gan_hessians import command as gan_hessians
from core.insilico.gan_hessians import hessian as hessian_module
from core.insilico.gan_hessians import stimuli as stimuli_command
from core.insilico.gan_hessians.command import HessianSettings, compute_hessians, main
from core.insilico.gan_hessians.hessian import (
    METHODS,
    eigenpairs_of,
    hessian_compute,
    mean_hessian,
    mean_squared_error,
)
from core.insilico.gan_hessians.stimuli import axis_stimuli, write_stimuli
from core.utils.Optimizers import label2optimizer
from core.utils.scoring.perception import load_lpips

PIXELS = 3 * 8 * 8


class LinearGenerator:
    """Images G(z) = 1/2 + W z, whose mean squared error has the Hessian (2 / pixels) Wᵀ W."""

    trained = False
    device = torch.device("cpu")

    def __init__(self, codelen, seed=0, curved=False):
        self.codelen, self.curved = codelen, curved
        scale = np.linspace(1, 0.05, codelen)
        basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(PIXELS, codelen)))[0]
        self.W = torch.tensor(basis * scale, dtype=torch.float32)

    def visualize(self, codes, scale=1.0):
        pixels = torch.as_tensor(codes, dtype=torch.float32) @ self.W.T
        if self.curved:
            pixels = torch.sin(pixels)
        return scale * (0.5 + pixels).reshape(-1, 3, 8, 8)

    def visualize_batch(self, codes, scale=1.0, B=42):
        with torch.no_grad():
            return self.visualize(codes, scale)

    def sample_vector(self, sampn=1, device=None, seed=None):
        noise = np.random.default_rng(seed).standard_normal((sampn, self.codelen))
        return torch.tensor(noise, dtype=torch.float32)

    def hessian(self, code):
        J = self.W.numpy().astype(float)
        if self.curved:  # the distance is zero at z0, so only first derivatives of G count
            J = np.cos(J @ np.ravel(code))[:, None] * J
        return 2 / PIXELS * J.T @ J


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_known_hessian(method, curved):
    """Exact, Lanczos and differences; a curved generator leaves 2/P Jᵀ J, J at the code."""
    generator = LinearGenerator(12, curved=curved)
    code = generator.sample_vector(seed=1)
    expected = generator.hessian(code)
    found = hessian_compute(generator, code, mean_squared_error, method, cutoff=11)
    top = np.linalg.eigvalsh(expected)[-len(found.eigvals) :]
    np.testing.assert_allclose(found.eigvals, top, rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(found.H, expected, atol=4e-3 * np.abs(expected).max())
    assert (np.diff(found.eigvals) >= 0).all()


class SquaredLength:
    """A squared length that says so: of 2 x + x², whose derivative at x is 2 + 2 x."""

    def __call__(self, first, second):
        return (self.vectors(first) - self.vectors(second)).square().sum(dim=1)

    @staticmethod
    def vectors(images):
        return (2 * images + images**2).flatten(1)


@pytest.mark.parametrize("distance", [SquaredLength(), SquaredLength().__call__])
@pytest.mark.parametrize("kept_images", [2, 7, 100])
def test_exact_hessians_are_alike_however_few_images_are_kept(monkeypatch, distance, kept_images):
    """H = 2 Jᵀ diag(2 + 2 x)² J in closed form, with the vectors of the distance or without."""
    monkeypatch.setattr(hessian_module, "KEPT_BYTES", kept_images * 4 * PIXELS)
    monkeypatch.setattr(hessian_module, "batch_from_memory", lambda device: 3)
    monkeypatch.setattr(hessian_module, "VECTORS_AT_ONCE", 2)
    generator = LinearGenerator(12, curved=True)
    code = generator.sample_vector(seed=1)
    J = np.cos(generator.W.numpy() @ code.numpy().ravel())[:, None] * generator.W.numpy()
    slopes = 2 + 2 * generator.visualize(code).numpy().reshape(-1, 1)
    found = hessian_compute(generator, code, distance, "BP")
    np.testing.assert_allclose(found.H, 2 * (slopes * J).T @ (slopes * J), rtol=2e-5, atol=2e-5)


def test_lpips_gives_the_vectors_that_its_derivatives_need(rng):
    """The exact Hessian is the second derivative of the distance itself, backpropagated twice."""
    lpips = gan_hessians.Lpips(load_lpips(device="cpu", pretrained=False, seed=1))
    generator = LinearGenerator(3)
    images = torch.tensor(0.1 * rng.normal(size=(3 * 32 * 32, 3)), dtype=torch.float32)

    def visualize(codes, scale=1.0):
        return (0.5 + codes @ images.T).reshape(-1, 3, 32, 32)

    generator.visualize = visualize
    origin = torch.zeros(1, 3)
    expected = torch.autograd.functional.hessian(
        lambda code: lpips(visualize(origin), visualize(code[None])).sum(), origin[0]
    )
    found = hessian_compute(generator, origin, lpips, "BP").H
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4 * float(expected.abs().max()))


def test_exact_hessians_need_a_distance_that_is_least_between_equal_images():
    generator = LinearGenerator(3)

    def not_least(first, second):
        return (second**2).sum(dim=(1, 2, 3))

    with pytest.raises(UsageError, match=r"has a slope there.*take BackwardIter"):
        hessian_compute(generator, np.zeros(3), not_least, "BP")
    assert hessian_compute(generator, np.zeros(3), not_least, cutoff=1).eigvals > 0


class OneWay(torch.autograd.Function):
    """Twice the input, derived backwards only."""

    @staticmethod
    def forward(ctx, images):
        return 2 * images

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def test_a_generator_without_forward_derivatives_is_told_so():
    with pytest.raises(UsageError, match=r"no forward derivatives.*take BackwardIter"):
        hessian_compute(
            LinearGenerator(3), np.zeros(3), mean_squared_error, "BP", preprocess=OneWay.apply
        )


def test_lanczos_keeps_the_largest_pairs_and_follows_its_seed():
    generator = LinearGenerator(20)
    code = generator.sample_vector(seed=2)
    found, again = (
        hessian_compute(generator, code, mean_squared_error, "BackwardIter", 4, seed=3)
        for _ in range(2)
    )
    np.testing.assert_array_equal(found.eigvects, again.eigvects)
    np.testing.assert_allclose(
        found.eigvals, np.linalg.eigvalsh(generator.hessian(code))[-4:], rtol=1e-3
    )
    assert found.H.shape == (20, 20)
    assert hessian_compute(generator, code, mean_squared_error).eigvals.shape == (9,)


def test_preprocessing_comes_before_the_distance():
    """Images reduced to their mean have a Hessian of rank 1."""
    generator = LinearGenerator(6)
    found = hessian_compute(
        generator,
        generator.sample_vector(seed=0),
        mean_squared_error,
        "BP",
        preprocess=lambda images: images.mean(dim=(1, 2, 3), keepdim=True),
    )
    assert (np.abs(found.eigvals[:-1]) < 1e-6 * found.eigvals[-1] + 1e-9).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"hessian_method": "BackwrdIter"}, "Did you mean 'BackwardIter'"),
        ({"cutoff": 6}, "1 to 5 eigenpairs"),
        ({"cutoff": 0}, "1 to 5 eigenpairs"),
        ({"feat": np.zeros(5)}, "takes 6"),
    ],
)
def test_bad_requests_are_refused(arguments, told):
    generator = LinearGenerator(6)
    given = {"feat": np.zeros(6)} | arguments
    with pytest.raises(UsageError, match=told):
        hessian_compute(generator, given.pop("feat"), mean_squared_error, **given)


def test_the_mean_of_hessians_is_a_plain_mean(rng):
    matrices = [(m + m.T) / 2 for m in rng.normal(size=(3, 5, 5))]
    found = mean_hessian(iter(matrices))
    np.testing.assert_allclose(found.H, np.mean(matrices, axis=0))
    np.testing.assert_allclose((found.eigvects * found.eigvals) @ found.eigvects.T, found.H)
    with pytest.raises(UsageError, match="no Hessian"):
        mean_hessian(iter(()))


@pytest.fixture
def small_fc6(monkeypatch):
    """Let the command run on a generator of 4096 → 16 numbers."""
    generator = LinearGenerator(16)
    monkeypatch.setattr(gan_hessians, "load_generator", lambda settings, device="auto": generator)
    return generator


def test_average_files_have_the_published_keys_and_resume(small_fc6, tmp_path):
    """An interrupted run goes on from the codes that are there, to the same bytes."""
    settings = HessianSettings("fc6", "MSE", "BackwardIter", n_codes=3, cutoff=8, untrained=True)
    path = compute_hessians(settings, tmp_path / "whole")
    saved = np.load(path)
    assert set(saved) == {"H_avg", "eigv_avg", "eigvect_avg", "untrained"}
    assert bool(saved["untrained"])
    assert (np.diff(saved["eigv_avg"]) >= 0).all()

    def two_codes(codes):
        yield from list(codes)[:2]
        raise KeyboardInterrupt

    interrupted = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        compute_hessians(settings, interrupted, progress=two_codes)
    assert not (interrupted / path.name).exists()
    assert compute_hessians(settings, interrupted, resume=True).read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match="another experiment: n_codes differ"):
        compute_hessians(replace(settings, n_codes=4), interrupted, resume=True)
    with pytest.raises(UsageError, match="go on with --resume"):
        compute_hessians(settings, interrupted)
    (interrupted / "Hess_code00001.npz").write_bytes(b"PK broken")
    with pytest.raises(MalformedDataError, match=r"Hess_code00001\.npz is not a Hessian"):
        compute_hessians(settings, interrupted, resume=True)


def test_averages_of_biggan_feed_the_hessian_optimisers(rng, tmp_path):
    """Blocks of noise and class, keys as published, ascending; HessCMA searches along them."""
    root = rng.normal(size=(256, 256))
    halves = gan_hessians._with_halves(eigenpairs_of(root @ root.T), 128, "_avg")
    assert set(halves) == {
        f"{name}{block}_avg"
        for name in ("H", "eigvals", "eigvects")
        for block in ("", "_nois", "_clas")
    }
    np.testing.assert_allclose(halves["H_clas_avg"], (root @ root.T)[128:, 128:])
    np.savez(tmp_path / "H.npz", **halves)
    for label in ("HessCMA", "HessCMA_class"):
        optimizer = label2optimizer(label, np.ones(256), hessian=tmp_path / "H.npz", random_seed=0)
        codes = optimizer.get_init_pop()
        assert np.isfinite(optimizer.step_simple(codes.sum(axis=1), codes)).all()


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["--generator", "BigGAN", "--codes", "1001", "--output", str(tmp_path)]) == 2
    assert "1 to 1000 are possible" in capsys.readouterr().err
    assert main(["--generator", "StyleGAN", "--output", str(tmp_path)]) == 2
    assert "Name your own module:object" in capsys.readouterr().err
    assert main(["--generator", f"{__name__}:nobody", "--output", str(tmp_path)]) == 3


def faint_generator():
    """Make the generator that ``tests.insilico.test_gan_hessians:faint_generator`` names."""
    generator = LinearGenerator(6)
    generator.W *= 0.05  # images within 0 to 1
    return generator


def test_a_generator_of_ones_own_has_a_hessian_that_labels_search_along(tmp_path, capsys):
    """Named module:object: the known matrix, marked untrained, and HessCMA walks its axes."""
    name = f"{__name__}:faint_generator"
    job = ["--generator", name, "--distance", "MSE", "--codes", "2", "--output", str(tmp_path)]
    assert main(job) == 0
    path = tmp_path / "Avg_Hess.npz"
    assert capsys.readouterr().out == f"{path}\n"
    saved, expected = np.load(path), faint_generator().hessian(np.zeros(6))
    np.testing.assert_allclose(saved["H_avg"], expected, rtol=1e-4, atol=1e-9)
    assert bool(saved["untrained"])
    generator = faint_generator()
    optimizer = label2optimizer(
        "HessCMA2", np.zeros(6), GAN=generator, hessian=path, random_seed=0
    )
    optimizer.tell([0.0])
    steps = optimizer.ask()
    top = np.linalg.eigh(expected)[1][:, -2:]
    np.testing.assert_allclose(steps @ top @ top.T, steps, atol=1e-4 * np.abs(steps).max())


def test_stimuli_lie_at_their_distances_on_both_sides(tmp_path):
    """On a linear generator D = λ s²/2, so the steps are known; what is not reached is left out."""
    generator = LinearGenerator(8)
    origin = 0.1 * generator.sample_vector(seed=4).numpy().ravel()
    pairs = eigenpairs_of(generator.hessian(origin))
    targets = (0.2, 0.4)
    stimuli = axis_stimuli(generator, _steep, origin, pairs, (0, 3), targets)
    signed = np.array([-0.4, -0.2, 0, 0.2, 0.4])
    curvature = 1000 * pairs.eigvals[[-1, -4]]
    expected = np.sign(signed) * np.sqrt(2 * np.abs(signed) / curvature[:, None])
    np.testing.assert_allclose(stimuli.steps, expected, rtol=5e-3)
    np.testing.assert_allclose(stimuli.distances, signed[None].repeat(2, 0), atol=1e-3)
    written = write_stimuli(stimuli, generator, "class", tmp_path)
    assert [path.name for path in written[:3]] == [
        "class_eig0_lin-0.40.jpg", "class_eig0_lin-0.20.jpg", "class_eig0_lin0.00.jpg"
    ]  # fmt: skip
    saved = np.load(tmp_path / "summary" / "class_ImDist_root_data.npz")
    assert saved["vecs_arr"].shape == (2, 5, 8)
    with pytest.raises(UsageError, match="axes 0 to 7"):
        axis_stimuli(generator, _steep, origin, pairs, (8,), targets)
    with pytest.raises(UsageError, match="positive and ascending"):
        axis_stimuli(generator, _steep, origin, pairs, (0,), (0.4, 0.2))


def test_a_distance_out_of_reach_is_missing(tmp_path):
    """A distance that saturates below the target leaves NaN, and no image."""
    generator = LinearGenerator(8)
    pairs = eigenpairs_of(generator.hessian(np.zeros(8)))

    def saturating(first, second):
        return 0.3 * torch.tanh(_steep(first, second))

    stimuli = axis_stimuli(generator, saturating, np.zeros(8), pairs, (0,), (0.16, 0.4))
    assert np.isfinite(stimuli.steps[0, 1:4]).all()
    assert np.isnan(stimuli.steps[0, [0, 4]]).all()
    assert len(write_stimuli(stimuli, generator, "noise", tmp_path)) == 3


def _steep(first, second):
    return 1000 * mean_squared_error(first, second)


def test_the_command_makes_the_images_of_a_tuning_session(tmp_path, capsys, monkeypatch):
    """From a code and a Hessian of files to named pictures; the origin is the code itself."""
    generator = LinearGenerator(8)
    monkeypatch.setattr(stimuli_command, "load_generator", lambda settings, device: generator)
    monkeypatch.setattr(stimuli_command, "load_distance", lambda settings, device: _steep)
    code, hessian = tmp_path / "scoresCholCMA_00001.npz", tmp_path / "H_avg_1000cls.npz"
    codes = np.stack([np.zeros(8), np.full(8, 0.1)])
    np.savez(code, codes_fin=codes, scores_all=np.array([9.0, 1.0, 2.0]))
    np.savez(hessian, H_clas_avg=generator.hessian(codes[1])[4:, 4:])
    job = ["--half", "class", "--code", str(code), "--hessian", str(hessian)]
    job += ["--distance", "MSE", "--untrained", "--output", str(tmp_path / "out")]
    assert stimuli_command.main(job) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4 * 9
    saved = np.load(tmp_path / "out" / "summary" / "class_ImDist_root_data.npz")
    np.testing.assert_allclose(saved["vecs_arr"][:, 4], codes[[1] * 4])
    np.testing.assert_allclose(saved["vecs_arr"][..., :4], 0.1)
    np.testing.assert_allclose(np.abs(saved["dsim_arr"][:, -1]), 0.4, atol=1e-3)
    assert stimuli_command.main(job) == 2
    assert "--resume" in capsys.readouterr().err
    np.savez(hessian, other=np.ones(3))
    assert stimuli_command.main([*job, "--resume"]) == 1
    assert "no Hessian of BigGAN's class half" in capsys.readouterr().err
