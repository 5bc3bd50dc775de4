"""What can be an image, sorted into what the native module takes."""

from __future__ import annotations

import os
from typing import Any

import numpy

from . import _native

# The formats whose pixels are as many bytes as their arrays have channels.
_CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuyv": 2, "uyvy": 2}
_BY_CHANNELS = {1: "gray", 3: "rgb", 4: "rgba"}
_PLANAR = ("i420", "nv12", "nv21")
# Names that others have for the same.
_ALIASES = {"yuv420": "i420", "grey": "gray", "l": "gray", "yuy2": "yuyv"}
# The same pixels read from the last channel to the first.
_REVERSED = {"rgb": "bgr", "bgr": "rgb"}


def is_batch(images: Any) -> bool:
    """Whether these are several images."""
    return isinstance(images, (list, tuple)) or (isinstance(images, numpy.ndarray) and images.ndim == 4)


def source(image: Any, format: str | None, size: tuple[int, int] | None, color: str | None) -> Any:
    """``image`` as the native module takes it: a decoded picture or an array with its format."""
    if isinstance(image, (str, os.PathLike)):
        return _native.Picture.open(os.fspath(image))
    if isinstance(image, (bytes, bytearray)):
        return _native.Picture.decode(bytes(image))
    if format is None and _is_pillow(image):
        image = _pillow_pixels(image)
    array = numpy.asarray(image)
    if array.dtype != numpy.uint8:
        raise _native.Error(
            f"an image is an array of uint8, not of {array.dtype}: (height, width, 3) of red, green and blue, for example"
        )
    return _array(array, format, size, color or "bt601")


def _array(array: Any, format: str | None, size: tuple[int, int] | None, color: str) -> Any:
    name = format if format is None else _ALIASES.get(format.lower(), format.lower())
    if name in _PLANAR:
        if array.ndim != 2:
            raise _native.Error(f"{name} is an array of shape (rows of all planes, stride), not {array.shape}")
        rows, stride = array.shape
        width, height = size or (stride, rows * 2 // 3)
        return _contiguous(array), name, color, width, height
    if array.ndim == 2 and (name in ("yuyv", "uyvy") or size is not None):
        # Rows of bytes, as a camera gives them, with padding at their ends.
        if name is None or size is None:
            raise _native.Error("rows of bytes need a format and the size, (width, height)")
        return _contiguous(array), name, color, *size
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2] if array.ndim == 3 else 0
    name = name or _BY_CHANNELS.get(channels)
    if name is None or _CHANNELS.get(name, channels) != channels:
        raise _native.Error(
            f"an array of shape {array.shape} is no image{f' in {name}' if name else ''}: expected (height, width, 3), "
            "(height, width, 4) or (height, width)"
        )
    height, width = array.shape[:2]
    if size is not None and tuple(size) != (width, height):
        raise _native.Error(f"the array is {width} x {height} pixels, not {size[0]} x {size[1]}")
    if channels == 3 and array.strides[1:] == (3, -1) and name in _REVERSED:
        # frame[:, :, ::-1]: the same bytes in the other order.
        array, name = array[:, :, ::-1], _REVERSED[name]
    return _contiguous(array), name, color, width, height


def _contiguous(array: Any) -> Any:
    """``array`` itself if its rows go up in memory, are apart and have no gaps in them; otherwise a copy."""
    row, step = 1, array.itemsize
    for length, stride in zip(array.shape[:0:-1], array.strides[:0:-1]):
        if length > 1 and stride != step:
            return numpy.ascontiguousarray(array)
        row, step = row * length, step * length
    if array.shape[0] > 1 and array.strides[0] < row:
        return numpy.ascontiguousarray(array)
    return array


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "mode") and hasattr(image, "convert") and hasattr(image, "getbands")


def _pillow_pixels(image: Any) -> Any:
    if image.mode in ("RGB", "L", "RGBA"):
        return image
    transparent = image.mode in ("LA", "PA", "RGBa", "La") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")
