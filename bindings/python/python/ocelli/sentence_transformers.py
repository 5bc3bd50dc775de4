"""The names that sentence-transformers has, for programs that were written for it.

    from ocelli.sentence_transformers import SentenceTransformer

    model = SentenceTransformer("clip-b32.ocelli")
    images = model.encode([PIL.Image.open("photo.jpg")])
    texts = model.encode(["a dog", "a cat"])
    model.similarity(images, texts)

Everything is numpy. As there, a string is a text: give pictures opened, or as ``pathlib.Path``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy

from . import ImageEncoder, Model, TextEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]


class SentenceTransformer:
    """A model with sentence-transformers' methods."""

    def __init__(self, model_name_or_path: str | os.PathLike[str], *, batch: int = 8, **_: Any) -> None:
        """``batch`` images are encoded at a time."""
        self.model = Model.open(model_name_or_path)
        self._images = ImageEncoder(self.model, batch=batch) if self.model.has_image else None
        self._texts = TextEncoder(self.model) if self.model.has_text else None

    def encode(self, sentences: Any, *, normalize_embeddings: bool = False, **_: Any) -> Floats:
        """Embeddings of texts and images, mixed as they like: float32 of shape (n, dim), or (dim,) of one. Options that
        are about progress bars, batches and devices are not read."""
        one = not isinstance(sentences, (list, tuple)) and not _is_list_of_images(sentences)
        inputs = [sentences] if one else list(sentences)
        found = numpy.zeros((len(inputs), self.model.embed_dim), numpy.float32)
        for is_text in (True, False):
            at = [i for i, value in enumerate(inputs) if isinstance(value, str) == is_text]
            if at:
                found[at] = self._encode([inputs[i] for i in at], is_text, normalize_embeddings)
        return found[0] if one else found

    def _encode(self, inputs: list[Any], is_text: bool, normalize: bool) -> Floats:
        # What a model lacks is said by the encoder that cannot be made.
        if is_text:
            return (self._texts or TextEncoder(self.model)).encode_text(inputs, normalize=normalize)
        return (self._images or ImageEncoder(self.model)).encode_image(inputs, normalize=normalize)

    def similarity(self, first: Any, second: Any) -> Floats:
        """Cosines between all of ``first`` and all of ``second``, (n, m)."""
        cosines: Floats = _unit(first) @ _unit(second).T
        return cosines

    def get_sentence_embedding_dimension(self) -> int:
        """Length of an embedding."""
        return self.model.embed_dim


def _is_list_of_images(value: Any) -> bool:
    return isinstance(value, numpy.ndarray) and (value.ndim == 4 or value.dtype.kind in "OU")


def _unit(vectors: Any) -> Floats:
    vectors = numpy.atleast_2d(numpy.asarray(vectors, dtype=numpy.float32))
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / numpy.where(lengths > 0, lengths, numpy.float32(1))
    return unit
