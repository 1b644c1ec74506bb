"""Batches that shrink when memory runs out, and what they return."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UsageError, UserError
from core.utils import batching
from core.utils.batching import DoesNotFitError, batch_from_memory, map_batches, over_batches

pytestmark = pytest.mark.numerics

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


def device_with_room_for(rows: int, sizes: list[int], error: Exception = OUT_OF_MEMORY[0]):
    """Return a network (doubling) on a device that holds so many rows; note what it is given."""

    def double(batch):
        sizes.append(len(batch))
        if len(batch) > rows:
            raise error
        return 2 * batch

    return double


@given(count=st.integers(0, 40), batch_size=st.integers(1, 50), room=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_result_is_that_of_one_call_whatever_fits(count, batch_size, room):
    """Batches and shrinking change neither values nor order nor shape."""
    inputs = torch.arange(2 * count).reshape(count, 2)
    found = map_batches(device_with_room_for(room, []), inputs, batch_size)
    assert torch.equal(found, 2 * inputs)
    assert found.shape == (count, 2)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_batches_halve_and_stay_small(error):
    """After a failure the smaller size holds for the rest of the call."""
    sizes: list[int] = []
    map_batches(device_with_room_for(3, sizes, error), torch.zeros(11, 1), 10)
    assert sizes == [10, 5, 2, 2, 2, 2, 2, 1]


def test_single_row_that_does_not_fit_is_named():
    """One sentence with a way out, and no endless loop."""
    sizes: list[int] = []
    with pytest.raises(DoesNotFitError, match=r'single input.*device="cpu"') as caught:
        map_batches(device_with_room_for(0, sizes), torch.zeros(4, 1), 4)
    assert sizes == [4, 2, 1]
    assert isinstance(caught.value, UserError)


def test_other_errors_pass_at_once():
    """A mistake in the network is not taken for a lack of memory."""
    sizes: list[int] = []
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        map_batches(
            device_with_room_for(2, sizes, RuntimeError("shapes cannot be multiplied")),
            torch.zeros(4, 1),
            4,
        )
    assert sizes == [4]


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one_is_refused(batch_size):
    """A size that would never end is named."""
    with pytest.raises(UsageError, match=f"batch size {batch_size}"):
        map_batches(lambda batch: batch, torch.zeros(4, 1), batch_size)


def test_memory_of_the_failed_call_is_free_before_the_next():
    """Tensors of the failed forward pass are gone when the smaller batch starts."""
    left: list[weakref.ref] = []

    def forward(rows: slice) -> int:
        if left:
            assert left[0]() is None
        activations = torch.zeros(10)
        left.append(weakref.ref(activations))
        if rows.stop - rows.start > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0

    assert [rows for rows, _ in over_batches(forward, 4, 4)] == [slice(0, 2), slice(2, 4)]


def test_results_go_to_the_cpu_without_their_graph():
    """`to_cpu` lets go of the graph batch by batch; without it the gradient flows."""
    inputs = torch.ones(5, 2, requires_grad=True)
    assert not map_batches(lambda batch: batch**2, inputs, 2, to_cpu=True).requires_grad
    map_batches(lambda batch: batch**2, inputs, 2).sum().backward()
    assert torch.equal(inputs.grad, torch.full((5, 2), 2.0))


def test_lists_are_rows_too():
    """Images of different sizes come as a list."""
    images = [torch.ones(2, 3), torch.ones(4, 5)]
    sizes = map_batches(lambda batch: torch.tensor([image.numel() for image in batch]), images, 1)
    assert sizes.tolist() == [6, 20]


@pytest.mark.parametrize(
    ("free_gib", "images"), [(80, 512), (20, 128), (16.1, 128), (3, 16), (0.01, 1)]
)
def test_a_gpu_gets_what_fits_into_half_of_its_free_memory(free_gib, images, monkeypatch):
    """A power of two of 64 MiB each, so that a little less free memory changes nothing."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 2**40))
    assert batch_from_memory(torch.device("cuda")) == images


@pytest.mark.parametrize(
    ("told", "images"),
    [("MemTotal: 9 kB\nMemAvailable: 16777216 kB\n", 40), ("MemAvailable: 1048576 kB\n", 8),
     ("no such line\n", 40), (None, 40)],
)  # fmt: skip
def test_a_cpu_gets_forty_unless_memory_is_short(told, images, tmp_path, monkeypatch):
    path = tmp_path / "meminfo"
    if told:
        path.write_text(told)
    monkeypatch.setattr(batching, "MEMORY_FILE", path)
    assert batch_from_memory(torch.device("cpu")) == images
    assert batch_from_memory(torch.device("mps")) == 40
