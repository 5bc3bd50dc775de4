"""Threads and kernels."""

from __future__ import annotations

import threading

from . import _native

_default: Runtime | None = None
_lock = threading.Lock()


class Runtime:
    """Threads and kernels that encoders share: what one encoder computes, others of the same runtime wait for."""

    def __init__(self, threads: int | None = None, isa: str | None = None) -> None:
        """``threads``, the calling one included: ``OCELLI_THREADS`` or one for each CPU unless given. ``isa``:
        instruction sets, as in "neon+dotprod": ``OCELLI_ISA`` or all that this CPU has unless given."""
        self._native = _native.Runtime(threads, isa)

    @property
    def threads(self) -> int:
        """Threads, the calling one included."""
        return self._native.threads

    @property
    def isa(self) -> str:
        """Instruction sets in use."""
        return self._native.isa

    def __repr__(self) -> str:
        return f"<ocelli.Runtime of {self.threads} threads, {self.isa}>"


def default_runtime() -> Runtime:
    """The runtime of everything that is given none, made when it is first needed."""
    global _default
    with _lock:
        if _default is None:
            _default = Runtime()
        return _default
