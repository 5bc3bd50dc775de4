"""Whatever it is given, the package gives a result or an exception. OCELLI_FUZZ_EXAMPLES=N tries N of each; fuzz.py has
these tests as targets of Atheris."""

import os

import hypothesis.extra.numpy as arrays
import numpy
from conftest import DEMO, PHOTOS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ocelli

REFUSED = (ocelli.Error, OSError, TypeError, ValueError, OverflowError, MemoryError)
EXAMPLES = settings(
    max_examples=int(os.environ.get("OCELLI_FUZZ_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MODEL = ocelli.Model.open(DEMO)
ENCODER = ocelli.ImageEncoder(MODEL, batch=3)
FORMATS = st.sampled_from(
    [None, "rgb", "bgr", "rgba", "bgra", "gray", "yuv420", "nv12", "nv21", "yuyv", "uyvy", "", "RGB", "x\0y"]
)
SIZES = st.none() | st.tuples(st.integers(-2, 70), st.integers(-2, 70)) | st.just((2**32, 1))
COLORS = st.sampled_from([None, "bt601", "bt601-full", "bt709", "bt709-full", "mauve"])
SLICES = st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 40), st.sampled_from([-2, -1, 1, 2, 5]))
ARRAYS = arrays.arrays(
    st.sampled_from([numpy.uint8] * 8 + [numpy.int8, numpy.float32, numpy.bool_, numpy.uint16, object]),
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=36),
    elements=st.just(0),
    fill=st.just(0),
)


def accepted(embedding, dim):
    assert embedding.shape[-1] == dim and numpy.isfinite(embedding).all()


@EXAMPLES
@given(array=ARRAYS, cuts=st.lists(SLICES, max_size=4), format=FORMATS, size=SIZES, color=COLORS, swap=st.booleans())
def test_arrays(array, cuts, format, size, color, swap):
    view = array[tuple(cuts[: array.ndim])] if array.ndim else array
    view = view.T if swap else view
    try:
        found = ENCODER.encode_image(view, format=format, size=size, color=color)
    except REFUSED as error:
        assert str(error)
    else:
        accepted(found, MODEL.embed_dim)


@EXAMPLES
@given(array=ARRAYS, format=st.text(max_size=5) | FORMATS, color=st.text(max_size=9), size=st.tuples(st.integers(), st.integers()))
def test_the_native_door(array, format, color, size):
    """What the Python side would have sorted out."""
    try:
        ENCODER._native.encode([(array, format, color, *size)], "projected", True)
    except REFUSED:
        pass


@EXAMPLES
@given(data=st.binary(max_size=400), at=st.integers(0, 4000), photo=st.sampled_from(PHOTOS[:2]))
def test_bytes_of_pictures(data, at, photo):
    whole = photo.read_bytes()
    for picture in (data, whole[:at] + data + whole[at + len(data) :], whole[: at % len(whole)]):
        try:
            accepted(ENCODER.encode_image(picture), MODEL.embed_dim)
        except ocelli.PictureError as error:
            assert str(error)


@EXAMPLES
@given(data=st.binary(min_size=1, max_size=64), at=st.integers(0, 200_000), length=st.integers(0, 200_000))
def test_bytes_of_models_and_banks(data, at, length):
    whole = bytearray(DEMO.read_bytes())
    whole[at : at + len(data)] = data
    for door in (ocelli.Model.from_bytes, ocelli.Bank.from_bytes):
        for bytes_ in (bytes(whole), bytes(whole[:length]), data):
            try:
                door(bytes_)
            except REFUSED as error:
                assert str(error)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2) | st.tuples(inner, inner),
    max_leaves=6,
)


@EXAMPLES
@given(thing=ANYTHING, other=ANYTHING)
def test_anything_anywhere(thing, other):
    texts = ocelli.TextEncoder(MODEL)
    for door in (
        lambda: ENCODER.encode_image(thing),
        lambda: ENCODER.encode_image([thing, other]),
        lambda: ENCODER.encode_image(PHOTOS[0], layer=thing, format=other),
        lambda: ENCODER.encode_normalized(thing),
        lambda: ENCODER.frame(thing),
        lambda: texts.encode_text(thing),
        lambda: texts.encode_ids(thing),
        lambda: texts.embed_labels(thing, other),
        lambda: MODEL.classify(PHOTOS[0], thing, other),
        lambda: ocelli.Classifier(MODEL, thing),
        lambda: ocelli.Bank.open(thing),
        lambda: ocelli.Runtime(threads=thing if not isinstance(thing, int) or thing < 8 else 8, isa=other),
    ):
        try:
            door()
        except (*REFUSED, AttributeError, RecursionError, Warning):
            pass
