"""Label banks: labels with their embeddings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


class Bank:
    """Labels with their embeddings, for every model of one checkpoint. ``Model.labels_bank`` and
    ``TextEncoder.embed_labels`` make them, and so does the program ``ocelli labels``."""

    def __init__(self, native: _native.Bank) -> None:
        self._native = native

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Bank:
        """Reads the bank at ``path``."""
        return Bank(_native.Bank.open(os.fspath(path)))

    @staticmethod
    def from_bytes(data: bytes) -> Bank:
        """Reads the bank in ``data``."""
        return Bank(_native.Bank.from_bytes(data))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the bank to ``path``, whole or not at all."""
        self._native.save(os.fspath(path))

    @property
    def labels(self) -> list[str]:
        """The labels."""
        return self._native.labels

    @property
    def templates(self) -> list[str]:
        """The templates that it was made with."""
        return self._native.templates

    @property
    def embeddings(self) -> NDArray[numpy.float32]:
        """The embeddings, float32: a row of length 1 for each label, or several where a label has more."""
        return self._native.embeddings

    def __len__(self) -> int:
        return len(self._native)

    def __repr__(self) -> str:
        return f"<ocelli.Bank of {len(self)} labels>"
