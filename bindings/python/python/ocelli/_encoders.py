"""Encoders and the classifier."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from . import _native
from ._bank import Bank
from ._runtime import Runtime, default_runtime
from ._sources import is_batch, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._model import Model

    Floats = NDArray[numpy.float32]


class Score(NamedTuple):
    """One label's result."""

    label: str
    score: float
    """Probability: over all labels (CLIP) or of this one alone (SigLIP); the cosine where the model knows none."""
    similarity: float
    """Cosine of the angle between image and label; of a class of the model's own classifier, its logit."""
    label_index: int
    """Index of the label."""


class ImageEncoder:
    """An image tower with its memory, which is taken here. Threads that share it take turns."""

    def __init__(
        self,
        model: Model,
        *,
        runtime: Runtime | None = None,
        batch: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """``batch`` images at a time at most; ``image_size``, (height, width): what the model sees, if not its own
        size."""
        self.model = model
        self.runtime = runtime or default_runtime()
        self._native = _native.ImageEncoder(model._native, self.runtime._native, batch, image_size)

    def encode_image(
        self,
        images: Any,
        *,
        layer: str = "projected",
        normalize: bool = True,
        format: str | None = None,
        size: tuple[int, int] | None = None,
        color: str | None = None,
    ) -> Floats:
        """The embedding of an image, or those of a list of images or of an array of shape (n, height, width, 3): float32
        of shape (dim,) or (n, dim).

        ``format`` says what an array is: "rgb" (unless it is grey or has alpha), "bgr" (OpenCV), "rgba", "bgra", "gray",
        "yuv420", "nv12", "nv21", "yuyv", "uyvy". ``size``, (width, height), is that of a camera's frame whose rows are
        padded. ``color``: "bt601" (most cameras), "bt601-full" (JPEG), "bt709" or "bt709-full".

        ``layer``: "projected" (the embedding), "pooled", "cls", or "patch": dense features of shape (rows, columns,
        channels). ``normalize`` brings every vector to length 1.
        """
        if not is_batch(images):
            one: Floats = self._encode([source(images, format, size, color)], layer, normalize)[0]
            return one
        batch = 1 if layer == "patch" else self._native.batch
        found = [
            self._encode([source(image, format, size, color) for image in images[i : i + batch]], layer, normalize)
            for i in range(0, len(images), batch)
        ]
        if not found:
            return numpy.zeros((0, self.embed_dim), numpy.float32)
        shapes = {part.shape[1:] for part in found}
        if len(shapes) > 1:
            raise _native.Error("the images have patches of different numbers: encode them one at a time")
        return numpy.concatenate(found)

    def _encode(self, sources: list[Any], layer: str, normalize: bool) -> Floats:
        vectors = self._native.encode(sources, layer, normalize)
        if layer == "patch":
            return vectors.reshape(len(sources), *self._grid(vectors), vectors.shape[2])
        return vectors[:, 0]

    def _grid(self, vectors: Floats) -> tuple[int, int]:
        rows, columns = self._native.grid
        # Another thread may have encoded an image of another shape since.
        return (rows, columns) if rows * columns == vectors.shape[1] else (1, vectors.shape[1])

    def encode_normalized(self, pixels: Any, *, layer: str = "projected", normalize: bool = True) -> Floats:
        """The same for pixels that were resized and normalised elsewhere: float32 of shape (n, 3, height, width)."""
        pixels = numpy.ascontiguousarray(pixels, dtype=numpy.float32)
        if pixels.ndim != 4:
            raise _native.Error(f"expected normalised pixels of shape (n, 3, height, width), not {pixels.shape}")
        batch = self._native.batch
        if not len(pixels):
            return numpy.zeros((0, self.embed_dim), numpy.float32)
        parts = (pixels[i : i + batch] for i in range(0, len(pixels), batch))
        found = numpy.concatenate([self._native.encode_normalized(part, layer, normalize) for part in parts])
        return found if layer == "patch" else found[:, 0]

    def frame(
        self,
        image: Any,
        *,
        format: str | None = None,
        size: tuple[int, int] | None = None,
        color: str | None = None,
    ) -> NDArray[numpy.uint8]:
        """What the model sees of an image: uint8 of shape (height, width, 3), red first."""
        return self._native.frame(source(image, format, size, color))

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return self.model.embed_dim

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of what the model sees, in pixels."""
        return self._native.image_size

    @property
    def batch(self) -> int:
        """Most images at a time; longer lists are taken in parts."""
        return self._native.batch

    @property
    def memory(self) -> int:
        """Bytes of its memory."""
        return self._native.memory


class TextEncoder:
    """A text tower with its memory and tokenizer. Threads that share it take turns."""

    def __init__(self, model: Model, *, runtime: Runtime | None = None) -> None:
        self.model = model
        self.runtime = runtime or default_runtime()
        self._native = _native.TextEncoder(model._native, self.runtime._native)

    def encode_text(self, texts: str | Sequence[str], *, normalize: bool = True) -> Floats:
        """The embedding of a text, or those of a list of texts: float32 of shape (dim,) or (n, dim). Texts that are longer
        than the model reads are cut, with a warning."""
        if isinstance(texts, str):
            one: Floats = self.encode_text([texts], normalize=normalize)[0]
            return one
        return self._native.encode_ids(self.tokenize(texts), normalize)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, as the model reads them."""
        ids, cut = self._native.tokenize(list(texts))
        for text, was_cut in zip(texts, cut):
            if was_cut:
                warnings.warn(f"{text[:40]!r} is longer than the model reads and was cut", stacklevel=3)
        return ids

    def encode_ids(self, ids: Sequence[Sequence[int]], *, normalize: bool = True) -> Floats:
        """The embeddings of texts that are given as token ids."""
        return self._native.encode_ids([[int(i) for i in text] for text in ids], normalize)

    def embed_labels(self, labels: Sequence[str], templates: str | Sequence[str] = ()) -> Bank:
        """A bank of ``labels``: each with the mean embedding over ``templates`` that have {} for the label ("a photo of a
        {}" unless given)."""
        templates = [templates] if isinstance(templates, str) else list(templates)
        bank, cut = self._native.embed_labels(_labels(labels), templates)
        for message in cut:
            warnings.warn(message, stacklevel=2)
        return Bank(bank)


class Classifier:
    """An image tower and the labels that it scores against. Threads that share it take turns."""

    def __init__(
        self,
        model: Model,
        labels: Bank | str | os.PathLike[str] | Sequence[str] | None = None,
        *,
        templates: str | Sequence[str] = (),
        runtime: Runtime | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """``labels``: a bank or the path of one, a list of labels, or None for the model's own classes or labels."""
        self.model = model
        self.runtime = runtime or default_runtime()
        if isinstance(labels, (str, os.PathLike)):
            labels = Bank.open(labels)
        elif labels is not None and not isinstance(labels, Bank):
            labels = TextEncoder(model, runtime=self.runtime).embed_labels(labels, templates)
        bank = None if labels is None else labels._native
        self._native = _native.Classifier(model._native, self.runtime._native, bank, image_size)
        self._labels = self._native.labels

    @property
    def labels(self) -> list[str]:
        """The labels."""
        return list(self._labels)

    def classify(
        self,
        image: Any,
        *,
        top_k: int | None = None,
        format: str | None = None,
        size: tuple[int, int] | None = None,
        color: str | None = None,
    ) -> list[Score]:
        """The ``top_k`` best labels of an image, or all, best first. Images as in ``ImageEncoder.encode_image``."""
        most = len(self._labels) if top_k is None else top_k
        found = self._native.classify(source(image, format, size, color), most)
        return [Score(self._labels[index], score, similarity, index) for index, score, similarity in found]


def _labels(labels: Sequence[str]) -> list[str]:
    if isinstance(labels, str):
        raise _native.Error("labels are a list of texts, not one text")
    return list(labels)
