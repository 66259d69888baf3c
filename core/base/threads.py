"""Threads: small matrices are multiplied faster by one thread than by several that wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_torch_thread() -> Iterator[int]:
    """Run torch with one thread inside the block; gives how many it had before.

    Completing the example cohort takes 6 s with one thread and 17 s with two on two cores.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
