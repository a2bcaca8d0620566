"""Products of all steps at once by tiles: against PyTorch in float64, whatever the sizes, strides and threads; and what asks PyTorch instead."""

import pytest
import torch
import torch.nn.functional as F

from rnndsl.runtime import biased_product, build
from rnndsl.runtime.cpu import products

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="needs a C++ compiler")


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Products of any size but zero are taken; the sizes of those that were."""
    taken: list[tuple[int, ...]] = []
    whole = products.product

    def product(a, b, begin=None):
        taken.append((*a.shape, b.shape[1]))
        return whole(a, b, begin)

    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "MANY", 1)
    monkeypatch.setattr(products, "product", product)
    return taken


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 5, 3), (97, 513, 33), (200, 1030, 70)])
def test_any_sizes_strides_and_threads(dtype, sizes):
    m, k, n = sizes
    a, b, bias = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype), torch.randn(n, dtype=dtype)
    right = a.double() @ b.double() + bias.double()
    for left in (a, a.T.contiguous().T):
        for other in (b, b.T.contiguous().T):
            found = []
            for threads in (1, 3):
                before = torch.get_num_threads()
                torch.set_num_threads(threads)
                try:
                    found.append(products.product(left, other, bias))
                finally:
                    torch.set_num_threads(before)
            assert torch.equal(*found)
            torch.testing.assert_close(found[0].double(), right, rtol=0, atol=5e-4 if dtype == torch.float32 else 1e-12)


def test_gradients(every):
    x = torch.randn(5, 2, 3, dtype=torch.float64).transpose(0, 1).requires_grad_()  # no one piece of memory
    matrix, bias = torch.randn(3, 4, dtype=torch.float64).T.requires_grad_(), torch.randn(4, dtype=torch.float64, requires_grad=True)

    def ours(*given):
        return biased_product(*given, torch.float64, "cpu")

    assert torch.autograd.gradcheck(ours, (x, matrix, bias))
    assert torch.autograd.gradgradcheck(ours, (x, matrix, bias))
    every.clear()
    (grad,) = torch.autograd.grad(ours(x.detach(), matrix, bias).sum(), (matrix,))
    assert every == [(10, 3, 4), (4, 10, 3)]  # none whose gradient nobody wants
    torch.testing.assert_close(grad, x.detach().sum((0, 1)).expand(4, 3))
    y = ours(x.detach(), matrix, bias)
    (both,) = torch.autograd.grad(y, matrix, torch.stack([torch.ones_like(y), torch.zeros_like(y)]), is_grads_batched=True)
    torch.testing.assert_close(both, torch.stack([grad, 0 * grad]))


def test_others_are_for_pytorch(every):
    x, matrix, bias = torch.randn(6, 3), torch.randn(4, 3), torch.randn(4)
    right = F.linear(x, matrix, bias)
    torch.testing.assert_close(torch.func.vmap(lambda row: biased_product(row, matrix, bias, torch.float32, "cpu"))(x), right)
    slopes = torch.func.jacfwd(lambda b: biased_product(x, matrix, b, torch.float32, "cpu"))(bias)
    torch.testing.assert_close(slopes, torch.eye(4).expand(6, 4, 4))
    assert biased_product(x.half(), matrix.half(), bias, torch.float16, "cpu").dtype == torch.float32
    assert biased_product(x.to("meta"), matrix.to("meta"), bias.to("meta"), torch.float32, "cpu").is_meta
    assert biased_product(x[:0], matrix, bias, torch.float32, "cpu").shape == (0, 4)
    torch.testing.assert_close(biased_product(x, matrix, bias, torch.float32, "reference"), right)
    assert not every
    torch.testing.assert_close(biased_product(x, matrix, bias, torch.float32, "cpu"), right)
    assert every
