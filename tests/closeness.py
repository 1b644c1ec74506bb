"""Equality of passes that differ in batches, threads or processor: up to rounding, by their scale.

A convolution adds its terms in an order that depends on the size of the batch, on the number of
threads and on the instructions of the processor. So single numbers, those near zero above all, may
differ by any share of themselves, and only the scale of the whole says what rounding is.
"""

from __future__ import annotations

import numpy as np

#: What rounding makes of some twenty layers in single precision, with a margin of ten.
ROUNDING = 1e-4


def assert_same_pass(found, expected, scale=None, rounding=ROUNDING):
    """Assert that no value differs by more than rounding of the largest one, or of `scale`."""
    found, expected = (np.asarray(_plain(v), dtype=float) for v in (found, expected))
    assert found.shape == expected.shape
    allowed = rounding * (np.abs(expected).max() if scale is None else scale)
    largest = np.abs(found - expected).max()
    assert largest <= allowed, f"values differ by {largest:.3g}, more than {allowed:.3g}"


def _plain(values):
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
