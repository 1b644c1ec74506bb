"""Geometry of latent space: great circles, exponential map, transport, norms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.errors import UsageError
from core.utils import geometry_utils as geometry

# Coordinates of at least 0.1, so that no vector is close to zero or two are close to parallel by
# more than chance.
_coordinate = st.floats(0.1, 10) | st.floats(-10, -0.1)
_code = arrays(np.float64, 6, elements=_coordinate)
_rows = arrays(np.float64, (3, 6), elements=_coordinate)


@settings(max_examples=40, deadline=None)
@given(_code, _code, st.floats(-1, 2))
def test_slerp_keeps_the_norm_and_walks_the_fraction_of_the_angle(c1, c2, fraction):
    """The two defining properties of the great circle, beyond its ends too."""
    c1, c2 = geometry.renormalize([c1, c2], 300)
    angle = geometry.ang_dist(c1, c2)[0, 0]
    if not 0.01 < angle < 3.13:
        return
    point = geometry.slerp(c1, c2, fraction)
    assert np.linalg.norm(point) == pytest.approx(300, rel=1e-9)
    walked = geometry.ang_dist(c1, point)[0, 0]
    expected = abs(fraction) * angle
    assert walked == pytest.approx(min(expected, 2 * np.pi - expected), abs=1e-6)


def test_slerp_ends_at_its_ends_for_unequal_norms_too(rng):
    c1, c2 = rng.standard_normal((2, 8)) * [[1], [5]]
    np.testing.assert_allclose(geometry.slerp(c1, c2, [0, 1]), [c1, c2], rtol=1e-12)


@pytest.mark.parametrize("distance", [0, 1e-300, 1e-16, 1e-12, 1e-9])
def test_slerp_of_nearly_equal_codes_is_the_straight_path(distance):
    """The sine in the denominator does no harm as the angle vanishes."""
    c1 = np.array([1.0, 0.0])
    c2 = np.array([1.0, distance])
    np.testing.assert_allclose(geometry.slerp(c1, c2, 1.5), [1, 1.5 * distance], rtol=1e-12)


def test_slerp_extrapolates_on_the_circle():
    """Half as far again from 0° to 30° is 45°."""
    degrees = np.deg2rad([0, 30, 45])
    start, end, beyond = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    np.testing.assert_allclose(geometry.slerp(start, end, 1.5), beyond, atol=1e-15)


def test_published_slerp_is_slerp_times_the_sine_of_the_angle(rng):
    c1, c2 = rng.standard_normal((2, 1, 8))
    sine = np.sin(geometry.ang_dist(c1, c2)[0, 0])
    fractions = np.linspace(-0.5, 1.5, 7)
    np.testing.assert_allclose(
        geometry.SLERP(c1, c2, 7, lim=(-0.5, 1.5)),
        sine * geometry.slerp(c1, c2, fractions),
        rtol=1e-10,
    )


def test_straight_paths(rng):
    c1, c2 = rng.standard_normal((2, 5))
    np.testing.assert_allclose(geometry.LERP(c1, c2, 3), [c1, (c1 + c2) / 2, c2])
    np.testing.assert_allclose(
        geometry.LExpMap(c1, c2, 3, lim=(-1, 1)), [c1 - c2, c1, c1 + c2], atol=1e-15
    )


@settings(max_examples=40, deadline=None)
@given(_code, _rows)
def test_exponential_map_stays_on_the_sphere_and_walks_the_length(x, V):
    """Norm of x kept, angle walked equal to the length of the tangent vector."""
    tangents = geometry.orthogonalize(x, V)
    if np.linalg.norm(tangents, axis=1).min() < 1e-3:
        return
    tangents = geometry.renormalize(tangents, [0.3, 1.0, 3.0])
    arrived = geometry.ExpMap(x, tangents)
    np.testing.assert_allclose(np.linalg.norm(arrived, axis=1), np.linalg.norm(x), rtol=1e-9)
    np.testing.assert_allclose(geometry.ang_dist(x, arrived)[0], [0.3, 1.0, 3.0], atol=1e-6)


def test_exponential_map_of_a_zero_vector_stays():
    """The published function gives NaN here."""
    np.testing.assert_array_equal(geometry.ExpMap([0, 0, 3], np.zeros((2, 3))), [[0, 0, 3]] * 2)


def test_exponential_map_agrees_with_the_great_circle_path(rng):
    """One tangent vector of length a, and the path at angle a."""
    ref = rng.standard_normal(7)
    tangent = geometry.orthogonalize(ref, rng.standard_normal(7))
    unit = geometry.renormalize(tangent, 1)
    np.testing.assert_allclose(
        geometry.SExpMap(ref, tangent, 4, lim=(0, 1.2)),
        [geometry.ExpMap(ref, angle * unit) for angle in np.linspace(0, 1.2, 4)],
        atol=1e-14,
    )


@settings(max_examples=40, deadline=None)
@given(_code, _code, _rows)
def test_transport_keeps_lengths_and_angles_and_lands_in_the_tangent_plane(xo, xn, v):
    if not 0.01 < geometry.ang_dist(xo, xn)[0, 0] < 3.0:
        return
    vectors = geometry.orthogonalize(xo, v)
    carried = geometry.VecTransport(xo, xn, vectors)
    np.testing.assert_allclose(carried @ carried.T, vectors @ vectors.T, atol=1e-8)
    np.testing.assert_allclose(carried @ xn, 0, atol=1e-8)


def test_transport_carries_the_velocity_of_the_great_circle():
    """The direction of travel stays the direction of travel: from 0° to 70°."""
    angle = np.deg2rad(70)
    carried = geometry.VecTransport([2, 0], [np.cos(angle), np.sin(angle)], [0, 1])
    np.testing.assert_allclose(carried, [-np.sin(angle), np.cos(angle)], atol=1e-15)


def test_radial_projection_shortens_only_the_long_ones():
    codes = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(geometry.radial_proj(codes, 1), [[0.6, 0.8], [0.3, 0.4], [0, 0]])
    np.testing.assert_array_equal(geometry.radial_proj(codes, np.inf), codes)
    np.testing.assert_allclose(
        geometry.radial_proj(codes, [10, 0.05, 0]), [[3, 4], [0.03, 0.04], [0, 0]]
    )


def test_orthogonalize_takes_any_length_of_the_basis_and_both_shapes(rng):
    basis, codes = rng.standard_normal(5), rng.standard_normal((4, 5))
    expected = codes - np.outer(codes @ basis, basis) / (basis @ basis)
    np.testing.assert_allclose(geometry.orthogonalize(3 * basis, codes), expected)
    np.testing.assert_allclose(geometry.orthogonalize(basis[np.newaxis], codes[0]), expected[0])


def test_renormalize_takes_one_norm_or_one_per_row(rng):
    codes = rng.standard_normal((3, 5))
    for norms in (2.0, [1.0, 0.0, 3.0]):
        scaled = geometry.renormalize(codes, norms)
        np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), np.broadcast_to(norms, 3))
    assert geometry.renormalize(codes[0], 2).shape == (5,)


def test_angles_of_parallel_and_opposite_rows_are_numbers(rng):
    """Rounding takes some cosines out of [-1, 1]; the published function gives NaN for them."""
    rows = rng.standard_normal((200, 3))
    both = geometry.ang_dist(rows, np.concatenate([3 * rows, -rows]))
    np.testing.assert_allclose(np.diag(both[:, :200]), 0, atol=1e-7)
    np.testing.assert_allclose(np.diag(both[:, 200:]), np.pi, atol=1e-7)


def test_no_argument_is_changed(rng):
    x, rows = rng.standard_normal(4), rng.standard_normal((3, 4))
    before = x.copy(), rows.copy()
    geometry.ExpMap(x, geometry.orthogonalize(x, rows))
    geometry.renormalize(rows, 3)
    geometry.radial_proj(rows, 0.1)
    geometry.VecTransport(x, rows[0], rows)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(rows, before[1])


def test_tensors_follow_the_arrays_and_have_gradients(rng):
    torch = pytest.importorskip("torch")
    c1, c2 = rng.standard_normal((2, 1, 6))
    t1, t2 = torch.tensor(c1, requires_grad=True), torch.tensor(c2)
    for tensors, numbers in (
        (geometry.SLERP_torch, geometry.SLERP),
        (geometry.LERP_torch, geometry.LERP),
    ):
        path = tensors(t1, t2, 5, (0, 1.5))
        np.testing.assert_allclose(path.detach().numpy(), numbers(c1, c2, 5, (0, 1.5)), atol=1e-12)
    path.sum().backward()
    assert torch.isfinite(t1.grad).all()
    assert geometry.LERP_torch(t1.float(), t2.float(), 2).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: geometry.slerp([1, 0], [-2, 0], 0.5), "opposite"),
        (lambda: geometry.slerp([1, 0], [1, 0, 0], 0.5), "length 2 and 3"),
        (lambda: geometry.slerp([0, 0], [1, 0], 0.5), "no direction"),
        (lambda: geometry.SLERP([1, 0], [0, 1], 1.5), "use slerp"),
        (lambda: geometry.LERP([1, 0], [0, 1], 0), "positive whole number"),
        (lambda: geometry.LERP([[1, 0], [0, 1]], [0, 1], 3), "give one code"),
        (lambda: geometry.SExpMap([1, 1], [2, 2], 3), "parallel"),
        (lambda: geometry.ExpMap([1, 0], [[0, 1], [1, 1]]), "row 1 of V is not perpendicular"),
        (lambda: geometry.VecTransport([1, 0], [-1, 0], [0, 1]), "opposite"),
        (lambda: geometry.ang_dist([[1, 0], [0, 0]], [1, 0]), "row 1 of V1"),
        (lambda: geometry.renormalize([[1, 0], [0, 1]], [1, 2, 3]), "one per row"),
        (lambda: geometry.radial_proj([1, 0], -1), "none negative"),
        (lambda: geometry.orthogonalize(np.eye(2), [1, 0]), "basis has shape"),
        (lambda: geometry.orthogonalize(np.ones((2, 2, 2)), [1, 0]), r"one code \(N,\)"),
    ],
)
def test_input_without_an_answer_is_refused_with_a_reason(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_tensors_of_several_codes_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="two single codes"):
        geometry.LERP_torch(torch.ones(2, 3), torch.ones(3), 2)


@pytest.mark.parametrize("module", ["geometry_utils"])
def test_the_module_loads_no_torch(module, bare):
    code = f"import sys, core.utils.{module}; sys.exit(any('torch' in m for m in sys.modules))"
    assert bare.run(code).returncode == 0
