"""The names that open_clip has, for programs that were written for it.

    from ocelli import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms("clip-b32.ocelli")
    tokenizer = open_clip.get_tokenizer("clip-b32.ocelli")
    image = preprocess(PIL.Image.open("photo.jpg"))[None]
    features = model.encode_image(image, normalize=True)
    texts = model.encode_text(tokenizer(["a diagram", "a dog"]), normalize=True)

Everything is numpy: where torch is wanted, ``torch.from_numpy`` shares an array's memory. A tensor on the CPU is taken as an
image or as tokens. What is named is a packed file; ``pretrained`` and ``device`` are not read.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from . import Error, ImageEncoder, Model, TextEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]
    Ids = NDArray[numpy.int64]


class CLIP:
    """A model with open_clip's methods."""

    def __init__(self, model: Model, batch: int) -> None:
        self.model = model
        self._images = ImageEncoder(model, batch=batch) if model.has_image else None
        self._texts = TextEncoder(model) if model.has_text else None
        info = model.info()
        self.logit_scale = numpy.float32(numpy.log(info["logit_scale"]) if info["logit_scale"] > 0 else 0)
        """The logarithm of what cosines are multiplied by, as open_clip's parameter."""
        self.logit_bias = numpy.float32(info["logit_bias"])

    @property
    def visual(self) -> ImageEncoder:
        """The image tower."""
        if self._images is None:
            raise Error("this model has no image tower")
        return self._images

    @property
    def text(self) -> TextEncoder:
        """The text tower."""
        if self._texts is None:
            raise Error("this model has no text tower")
        return self._texts

    def encode_image(self, image: Any, normalize: bool = False) -> Floats:
        """Embeddings of what ``preprocess`` gave, float32 of shape (n, 3, height, width), or of anything that
        ``ocelli.ImageEncoder`` takes."""
        if not isinstance(image, (str, bytes, list, tuple, os.PathLike)):
            array = numpy.asarray(image)
            if array.dtype.kind == "f":
                return self.visual.encode_normalized(array, normalize=normalize)
        return numpy.atleast_2d(self.visual.encode_image(image, normalize=normalize))

    def encode_text(self, text: Any, normalize: bool = False) -> Floats:
        """Embeddings of token ids, (n, context), or of texts."""
        if isinstance(text, str) or (isinstance(text, (list, tuple)) and all(isinstance(t, str) for t in text)):
            text = [text] if isinstance(text, str) else list(text)
            return self.text.encode_text(text, normalize=normalize)
        return self.text.encode_ids(unpad(self.model, numpy.asarray(text)), normalize=normalize)

    def __call__(self, image: Any, text: Any) -> tuple[Floats, Floats, numpy.float32]:
        """Normalised embeddings of images and texts, and what their products are multiplied by."""
        scale = numpy.float32(numpy.exp(self.logit_scale))
        return self.encode_image(image, normalize=True), self.encode_text(text, normalize=True), scale

    def eval(self) -> CLIP:
        """Itself: it is never in training."""
        return self

    def to(self, *_: Any, **__: Any) -> CLIP:
        """Itself: it runs on the CPU."""
        return self


def create_model(model_name: str | os.PathLike[str], pretrained: Any = None, *, batch: int = 8, **_: Any) -> CLIP:
    """The model in the packed file ``model_name``; ``batch`` images are encoded at a time."""
    return CLIP(Model.open(model_name), batch)


def create_model_and_transforms(
    model_name: str | os.PathLike[str], pretrained: Any = None, **options: Any
) -> tuple[CLIP, Any, Any]:
    """The model, and twice its preprocessing."""
    model = create_model(model_name, pretrained, **options)
    transform = functools.partial(preprocess, model)
    return model, transform, transform


def create_model_from_pretrained(
    model_name: str | os.PathLike[str], pretrained: Any = None, **options: Any
) -> tuple[CLIP, Any]:
    """The model and its preprocessing."""
    model, _, transform = create_model_and_transforms(model_name, pretrained, **options)
    return model, transform


def preprocess(model: CLIP, image: Any) -> Floats:
    """``image`` as the model sees it: float32 of shape (3, height, width), normalised."""
    shown = model.model.info()["image"]
    mean, std = numpy.float32(shown["mean"]), numpy.float32(shown["std"])
    frame = model.visual.frame(image).astype(numpy.float32) / numpy.float32(255)
    return numpy.ascontiguousarray(((frame - mean) / std).transpose(2, 0, 1))


def get_tokenizer(model_name: str | os.PathLike[str], **_: Any) -> Any:
    """The tokenizer of the packed file ``model_name``: texts to token ids, int64 of shape (n, context)."""
    model = Model.open(model_name)
    return functools.partial(tokenize, encoder=TextEncoder(model))


def tokenize(texts: str | Sequence[str], context_length: int | None = None, *, encoder: TextEncoder) -> Ids:
    """Token ids, int64 of shape (n, context), with padding after the end."""
    info = encoder.model.info()["text"]
    context = context_length or info["context"]
    ids = encoder.tokenize([texts] if isinstance(texts, str) else texts)
    padded = numpy.full((len(ids), context), info["pad"], numpy.int64)
    for row, text in zip(padded, ids):
        if len(text) > context:
            text = [*text[: context - 1], text[-1]]
        row[: len(text)] = text
    return padded


def unpad(model: Model, ids: NDArray[Any]) -> list[list[int]]:
    """Texts without the padding at their ends, which a model that pads by itself wants back."""
    info = model.info()["text"]
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise Error(f"tokens are whole numbers of shape (n, context), not {ids.dtype} of shape {ids.shape}")
    if ids.size and (ids.min() < 0 or ids.max() >= info["vocab"]):
        raise Error(f"token ids are from 0 to {info['vocab'] - 1}")
    return [_unpadded(row.tolist(), info) for row in ids]


def _unpadded(ids: list[int], info: dict[str, Any]) -> list[int]:
    if info["padded"]:
        return ids + [info["pad"]] * (info["context"] - len(ids))
    end = len(ids)
    while end > 1 and ids[end - 1] == info["pad"]:
        end -= 1
    # CLIP pads with its end token, of which the first belongs to the text.
    return ids[: end + 1] if info["pad"] == info["eos"] else ids[:end]
