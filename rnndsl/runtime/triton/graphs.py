"""CUDA graphs of what runs again and again on tensors of the same look: the launches of many kernels, recorded once, are one launch then.

A graph reads and writes memory of its own, so what it is given is copied there, and what it makes is copied from there.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.triton.precision import of_products

Given = Sequence[Any]  # tensors, None where there is none
Work = Callable[[Sequence[Tensor], Given, Sequence[Tensor]], None]  # of what is fixed, what is given, and memory for what it makes
Run = Callable[[Given, Sequence[Tensor], bool], None]  # of what is given, memory for what is made, and whether that will look so again
_MOST = 16  # looks of the calls of one recurrence that are known; the one that was not seen for the longest time goes first


@dataclass
class Graph:
    """The memory of a graph, and what runs it on the current stream."""

    fixed: list[Any]
    given: list[Any]
    made: list[Any]
    replay: Callable[[], None]


def recorded(memory: Callable[[], list[list[Any]]], work: Work, device: torch.device) -> Graph:
    """Makes memory on a device, and records what some work there launches, which has run there once, so that all of it is compiled and loaded. In a thread
    and on a stream of their own: neither a graph that is being made elsewhere nor what other threads do has a part in it."""

    def record() -> Graph:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.stream(stream), torch.no_grad():
            fixed, given, made = memory()
            work(fixed, given, made)
            _forget_workspaces()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                work(fixed, given, made)
            _forget_workspaces()
        return Graph(fixed, given, made, graph.replay)

    with ThreadPoolExecutor(1) as apart:
        return apart.submit(record).result()


def _forget_workspaces() -> None:
    """The memory that products take while they run is the graph's own: none that others have had or will get."""
    forget = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if forget is not None:
        forget()


@dataclass
class Graphs:
    """Graphs of some work, by the look of their tensors. What is seen for the first time runs as it is, which makes all kernels that it needs."""

    made: OrderedDict[Any, Graph | None] = field(default_factory=OrderedDict)
    lock: Any = field(default_factory=threading.RLock)

    def serve(self, device: torch.device) -> bool:
        """Whether there are graphs on a device, and none is being recorded around this call."""
        return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()

    @contextmanager
    def runs(self, name: str, work: Work, fixed: Sequence[Tensor]) -> Iterator[Run]:
        """What does some work of a name, as often as it is called, with what stays the same. The memory of graphs is its own meanwhile."""
        filled: list[Graph] = []

        def run(given: Given, made: Sequence[Tensor], again: bool) -> None:
            graph = self._graph(name, work, fixed, given, made) if again else None
            if graph is None:
                work(fixed, given, made)
                return
            if not any(graph is other for other in filled):
                filled.append(graph)
                _copied(graph.fixed, fixed)
            _copied(graph.given, given)
            graph.replay()
            _copied(made, graph.made)

        with self.lock:
            yield run

    def _graph(self, name: str, work: Work, *groups: Given) -> Graph | None:
        """The graph of a call; None of one that looks as none did before."""
        device = next(t.device for t in groups[-1] if t is not None)
        looks = _looks(name, device, groups)
        if looks not in self.made:
            self._make_room()
            self.made[looks] = None
            return None
        if self.made[looks] is None:
            self.made[looks] = recorded(lambda: [[None if t is None else torch.zeros(t.shape, dtype=t.dtype, device=device) for t in g] for g in groups], work, device)
        self.made.move_to_end(looks)
        return self.made[looks]

    def _make_room(self) -> None:
        while len(self.made) >= _MOST:
            looks, graph = self.made.popitem(last=False)
            if graph is not None and looks.device.type == "cuda":
                torch.cuda.synchronize(looks.device)  # it may still run


@contextmanager
def plainly(work: Work, fixed: Sequence[Tensor]) -> Iterator[Run]:
    """The same without graphs."""
    yield lambda given, made, again: work(fixed, given, made)


def _copied(into: Given, values: Given) -> None:
    for to, value in zip(into, values, strict=True):
        if to is not None and value is not None:
            to.copy_(value)


@dataclass(frozen=True)
class _Looks:
    """What calls have in common that one graph serves: what it launches, and the stream that puts them in order."""

    name: str
    device: torch.device
    precision: str
    deterministic: bool
    stream: int
    tensors: tuple[tuple[tuple[int, ...], torch.dtype] | None, ...]


def _looks(name: str, device: torch.device, groups: Sequence[Given]) -> _Looks:
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    tensors = tuple(None if t is None else (tuple(t.shape), t.dtype) for group in groups for t in group)
    return _Looks(name, device, of_products(device), torch.are_deterministic_algorithms_enabled(), stream, tensors)
