"""Spikes and numbers of images from rounded mean PSTHs, against spikes that the test made."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_data_analysis.block_means.decoding import KERNEL, SPIKE_MS, convolve, decode
from tests.made_block_means import ONE_SPIKE, PRECISE, density, published, spikes_of


def test_a_spike_adds_what_recorded_spikes_add():
    """The seven values that one recorded spike leaves behind, on both sides."""
    assert [0, *SPIKE_MS[[0, -1]]] == [0, -6, 205]
    np.testing.assert_allclose(KERNEL[6:], ONE_SPIKE, atol=5e-5)
    np.testing.assert_allclose(KERNEL[:7][::-1], ONE_SPIKE, atol=5e-5)


def test_spikes_are_summed_as_a_convolution_sums_them(rng):
    """Against numpy's convolution, edges included."""
    spikes = spikes_of(rng, 300, 5)
    np.testing.assert_allclose(convolve(spikes), density(spikes), atol=1e-9)


@pytest.mark.parametrize(
    ("rate", "n_images"),
    [(2, 17), (2, 42), (20, 10), (20, 40), (60, 25), (60, 31), (150, 10), (150, 40), (300, 17),
     (300, 25), (300, 42)],
)  # fmt: skip
def test_random_spikes_and_their_number_of_images_are_recovered(rng, rate, n_images):
    """From nearly silent to the fastest sites, usual and unusual numbers of images."""
    spikes = [spikes_of(rng, rate, n_images) for _ in range(2)]
    decoded = decode(np.array([published(s) for s in spikes]))
    assert decoded.n_images.tolist() == [n_images] * 2
    assert decoded.certain.all()
    np.testing.assert_array_equal(decoded.spikes, [s.sum(axis=0) for s in spikes])
    np.testing.assert_allclose(decoded.mean_psth[0], density(spikes[0]).mean(axis=0), atol=1e-9)


def test_a_response_that_rises_from_silence_is_recovered(rng):
    """The search may begin anywhere: silent at first, then as fast as sites get."""
    rate = np.where(np.arange(212) < 80, 0, 400)
    spikes = spikes_of(rng, rate, 30)
    decoded = decode(published(spikes)[np.newaxis])
    assert decoded.n_images == 30
    np.testing.assert_array_equal(decoded.spikes[0], spikes.sum(axis=0))


def test_a_block_without_a_spike_leaves_its_number_of_images_open():
    """Any number of images without a spike has a mean of 0."""
    decoded = decode(np.zeros((1, 200)))
    assert decoded.n_images == 0
    assert not decoded.certain.any()
    assert np.isnan(decoded.mean_psth).all()


def test_images_that_all_come_twice_are_counted_once(rng):
    """A mean does not change when every image is doubled: the smallest number is found."""
    spikes = spikes_of(rng, 90, 13)
    doubled = np.concatenate([spikes, spikes])
    decoded = decode(published(doubled)[np.newaxis])
    assert decoded.n_images == 13
    assert decoded.certain.all()
    np.testing.assert_array_equal(decoded.spikes[0], spikes.sum(axis=0))


@pytest.mark.parametrize("rate", [3, 150])
def test_another_kernel_is_noticed(rng, rate):
    """A Gaussian 2 % wider explains no block."""
    wider = 1000 / (2.04 * np.sqrt(2 * np.pi)) * np.exp(-(np.arange(-6, 7) ** 2) / (2 * 2.04**2))
    decoded = decode(published(spikes_of(rng, rate, 25), wider)[np.newaxis])
    assert decoded.n_images == 0


@pytest.mark.parametrize(("rate", "sample"), [(3, 3), (3, 196), (150, 100)])
def test_a_sample_that_was_tampered_with_is_noticed(rng, rate, sample):
    """Five units of the last digit in one sample of two hundred."""
    mean = published(spikes_of(rng, rate, 25))
    mean[sample] += 0.05
    assert decode(mean[np.newaxis]).n_images == 0


def test_blocks_do_not_change_each_other(rng):
    """Each block decodes alone as it does among others."""
    means = np.array([published(spikes_of(rng, rate, 25)) for rate in (4, 50, 120, 250)])
    together = decode(means)
    alone = [decode(mean[np.newaxis]) for mean in means]
    np.testing.assert_array_equal(together.spikes, [d.spikes[0] for d in alone])


def test_the_kernel_of_the_tests_is_the_printed_one():
    """The precise kernel rounds to what a recorded spike adds."""
    np.testing.assert_allclose(PRECISE[6:], ONE_SPIKE, atol=5e-5)
