"""Memory of large results that is kept for later calls: never while anything else refers to it."""

import gc
import threading

import pytest
import torch

from rnndsl.runtime import buffers

SIZE = buffers.SMALLEST  # entries of float32: four times the smallest size that is kept

pytestmark = pytest.mark.skipif(
    buffers._use_count is None, reason="this PyTorch does not count references to a storage"
)


@pytest.fixture(autouse=True)
def nothing_kept():
    buffers.clear()
    yield
    buffers.clear()


def test_memory_is_used_again_once_it_is_free():
    a = buffers.empty((4, SIZE // 4), torch.float32)
    assert a.shape == (4, SIZE // 4) and a.is_contiguous() and not a._is_view() and a.data_ptr() % 64 == 0
    address = a.data_ptr()
    b = buffers.empty((SIZE,), torch.float32)
    assert b.data_ptr() != address
    del a
    gc.collect()
    assert buffers.empty((2, SIZE // 2), torch.float32).data_ptr() == address


@pytest.mark.parametrize(
    "hold",
    [
        lambda t: t[1:2, ::3],
        lambda t: t.numpy(),
        lambda t: t.detach(),
        lambda t: t.requires_grad_().square().grad_fn,
        lambda t: t.untyped_storage(),
    ],
)
def test_memory_in_use_is_left_alone(hold):
    a = buffers.empty((2, SIZE), torch.float32)
    address, held = a.data_ptr(), hold(a)
    del a
    gc.collect()
    assert buffers.empty((2, SIZE), torch.float32).data_ptr() != address
    assert held is not None
    del held
    gc.collect()
    assert buffers.empty((2, SIZE), torch.float32).data_ptr() == address


def test_small_and_enormous_results_are_left_to_pytorch():
    buffers.empty((3,), torch.float64)
    assert not buffers._kept
    assert buffers.empty((0, 5), torch.float32).shape == (0, 5)


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(buffers, "LARGEST", 64 << 20)
    held = [buffers.empty((2 << 20,), torch.float32) for _ in range(12)]
    assert sum(room.size for room in buffers._kept.values()) <= 64 << 20
    for i, t in enumerate(held):
        t.fill_(i)
    assert [int(t[-1]) for t in held] == list(range(12))


def test_inference_mode_leaves_no_mark():
    with torch.inference_mode():
        a = buffers.empty((SIZE,), torch.float32)
    del a
    b = buffers.empty((SIZE,), torch.float32)
    assert not b.is_inference()
    (b.fill_(1.0).requires_grad_() ** 2).sum().backward()
    assert float(b.grad[0]) == 2.0


def test_many_threads():
    """No two tensors that are alive at once share memory."""
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(40):
            t = buffers.empty((SIZE // 4 + 64 * (i % 3),), torch.float32).fill_(number)
            if not bool((t == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
