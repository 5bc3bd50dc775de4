"""Models."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _native
from ._bank import Bank
from ._encoders import Classifier, ImageEncoder, Score, TextEncoder
from ._runtime import Runtime, default_runtime

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]


class Model:
    """An open model. ``encode_image``, ``encode_text`` and ``classify`` make the encoders that they need when they are first
    called; ``ImageEncoder``, ``TextEncoder`` and ``Classifier`` say how."""

    def __init__(self, native: _native.Model, runtime: Runtime | None) -> None:
        self._native = native
        self._runtime = runtime
        self._info = native.info()
        self._lock = threading.Lock()
        self._made: dict[Any, Any] = {}

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        verify: bool | None = None,
        copy: bool = False,
        runtime: Runtime | None = None,
    ) -> Model:
        """Opens the packed file at ``path``. ``verify`` checks the weights against their checksums, which reads the whole
        file (what ``OCELLI_VERIFY`` says unless given: it is on). ``copy`` copies the weights into memory, for files that
        others may overwrite while they are in use; otherwise they are mapped. ``runtime`` is that of ``encode_image``,
        ``encode_text`` and ``classify``."""
        return Model(_native.Model.open(os.fspath(path), verify, copy), runtime)

    @staticmethod
    def from_bytes(data: bytes, *, verify: bool | None = None, runtime: Runtime | None = None) -> Model:
        """A copy of the packed file in ``data``."""
        return Model(_native.Model.from_bytes(bytes(data), verify), runtime)

    def info(self) -> dict[str, Any]:
        """What the model is: architecture, precision, and where it came from."""
        info = self._native.info()
        info["provenance"] = json.loads(info["provenance"] or "{}")
        return info

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return int(self._info["embed_dim"])

    @property
    def has_image(self) -> bool:
        """Whether it has an image tower."""
        return "image" in self._info

    @property
    def has_text(self) -> bool:
        """Whether it has a text tower."""
        return "text" in self._info

    @property
    def labels(self) -> list[str]:
        """The classes of its classifier, or the labels in it."""
        return self._native.labels()

    def labels_bank(self) -> Bank:
        """The bank of the labels in it."""
        return Bank(_native.Bank.of_model(self._native))

    def _encoder(self, kind: Any) -> Any:
        with self._lock:
            if kind not in self._made:
                self._made[kind] = kind(self, runtime=self._runtime or default_runtime())
            return self._made[kind]

    def encode_image(self, images: Any, **options: Any) -> Floats:
        """As ``ImageEncoder.encode_image``."""
        encoder: ImageEncoder = self._encoder(ImageEncoder)
        return encoder.encode_image(images, **options)

    def encode_text(self, texts: str | Sequence[str], *, normalize: bool = True) -> Floats:
        """As ``TextEncoder.encode_text``."""
        encoder: TextEncoder = self._encoder(TextEncoder)
        return encoder.encode_text(texts, normalize=normalize)

    def classify(
        self,
        image: Any,
        labels: Bank | Sequence[str] | None = None,
        templates: str | Sequence[str] = (),
        *,
        top_k: int | None = None,
        **options: Any,
    ) -> list[Score]:
        """The labels of an image with scores, best first: ``labels``, or the model's own. Those of the last call are kept,
        so that calls with the same labels embed them once."""
        templates = (templates,) if isinstance(templates, str) else tuple(templates)
        words = labels if labels is None or isinstance(labels, (Bank, str)) else tuple(labels)
        with self._lock:
            key, classifier = self._made.get(Classifier, (None, None))
            if classifier is None or key != (words, templates):
                runtime = self._runtime or default_runtime()
                if isinstance(words, str):
                    raise _native.Error("labels are a list of texts, not one text")
                classifier = Classifier(self, words, templates=templates, runtime=runtime)
                self._made[Classifier] = ((words, templates), classifier)
        scores: list[Score] = classifier.classify(image, top_k=top_k, **options)
        return scores

    def __repr__(self) -> str:
        towers = " and ".join(tower for tower in ("image", "text") if tower in self._info)
        return f"<ocelli.Model with {towers} tower, embeddings of {self.embed_dim}>"
