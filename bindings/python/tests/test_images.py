"""Images of every kind that Python programs have."""

import io
import threading
import time

import numpy
import PIL.Image
import pytest
from conftest import DEMO, PHOTOS

import ocelli


def same(first, second):
    assert first.dtype == second.dtype == numpy.float32
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes()


def test_paths_bytes_and_pillow_are_the_same_picture(encoder):
    path = PHOTOS[2]
    embedding = encoder.encode_image(path)
    assert embedding.shape == (encoder.embed_dim,)
    assert abs(numpy.linalg.norm(embedding) - 1) < 1e-5
    same(encoder.encode_image(str(path)), embedding)
    same(encoder.encode_image(path.read_bytes()), embedding)
    same(encoder.encode_image(bytearray(path.read_bytes())), embedding)
    # Pillow's decoder may round otherwise; a PNG of its pixels is the same to the bit.
    picture = PIL.Image.open(path)
    png = io.BytesIO()
    picture.save(png, "png")
    same(encoder.encode_image(png.getvalue()), encoder.encode_image(picture))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_pillow_modes(encoder, mode):
    picture = PIL.Image.open(PHOTOS[0])
    picture = picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
    expected = picture.convert({"L": "L", "RGBA": "RGBA", "LA": "RGBA"}.get(mode, "RGB"))
    same(encoder.encode_image(picture), encoder.encode_image(numpy.asarray(expected)))


def test_a_palette_with_transparency_keeps_it(encoder):
    clear = PIL.Image.new("RGBA", (20, 20), (0, 0, 0, 0)).convert("P")
    clear.info["transparency"] = clear.getpixel((0, 0))
    black = PIL.Image.new("RGB", (20, 20))
    assert encoder.encode_image(clear).tobytes() != encoder.encode_image(black).tobytes()


def test_orders_of_channels(encoder, frame):
    right = encoder.encode_image(frame)
    bgr = numpy.ascontiguousarray(frame[:, :, ::-1])
    same(encoder.encode_image(bgr, format="bgr"), right)
    same(encoder.encode_image(bgr[:, :, ::-1]), right)
    same(encoder.encode_image(frame[:, :, ::-1], format="bgr"), right)
    opaque = numpy.full((480, 640, 1), 255, numpy.uint8)
    same(encoder.encode_image(numpy.concatenate([frame, opaque], 2)), right)
    same(encoder.encode_image(numpy.concatenate([bgr, opaque], 2), format="bgra"), right)
    gray = frame[:, :, 0]
    same(encoder.encode_image(gray), encoder.encode_image(numpy.stack([gray] * 3, 2)))
    same(encoder.encode_image(frame[:, :, :1]), encoder.encode_image(gray, format="gray"))
    assert encoder.encode_image(bgr).tobytes() != right.tobytes()


def test_views_of_arrays(encoder, frame):
    for view in (
        frame[100:200, 50:300],
        frame[::2],
        frame[:, ::2],
        frame[::-1],
        frame[:, ::-1],
        frame.transpose(1, 0, 2),
        frame[:1],
        frame[:, :1],
        numpy.broadcast_to(frame[:1], frame.shape),
        numpy.broadcast_to(frame[:, :1], frame.shape),
        numpy.asfortranarray(frame),
        memoryview(numpy.ascontiguousarray(frame)),
    ):
        same(encoder.encode_image(view), encoder.encode_image(numpy.array(view, order="C")))


def test_frames_are_not_copied(encoder, frame):
    # What lies in memory as rows without gaps is passed on as it is, reversed channels too.
    from ocelli._sources import source

    for view in (frame, frame[10:20], frame[:, 10:20], frame[::3], frame[:, :, ::-1]):
        array = source(view, None, None, None)[0]
        assert numpy.shares_memory(array, frame)
    # And the interpreter takes no memory of the size of a frame.
    import tracemalloc

    tracemalloc.start()
    encoder.encode_image(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frame.nbytes / 10


def yuv(frame):
    """4:2:0 planes, of whatever colours."""
    luma = frame[:, :, 0]
    return luma, frame[::2, ::2, 1], frame[::2, ::2, 2]


def test_yuv420_as_picamera2_gives_it(encoder, frame):
    luma, blue, red = yuv(frame)
    planes = numpy.concatenate([luma.reshape(-1), blue.reshape(-1), red.reshape(-1)])
    tight = planes.reshape(720, 640)
    right = encoder.encode_image(tight, format="yuv420")
    # Rows padded to 704 bytes, chroma to 352, as for a width that is no multiple of 64.
    padded = [numpy.pad(luma, ((0, 0), (0, 64))), *(numpy.pad(c, ((0, 0), (0, 32))) for c in (blue, red))]
    wide = numpy.concatenate([plane.reshape(-1) for plane in padded]).reshape(720, 704)
    same(encoder.encode_image(wide, format="yuv420", size=(640, 480)), right)
    nv12 = numpy.concatenate([luma, numpy.stack([blue, red], 2).reshape(240, 640)])
    same(encoder.encode_image(nv12, format="nv12"), right)
    nv21 = numpy.concatenate([luma, numpy.stack([red, blue], 2).reshape(240, 640)])
    same(encoder.encode_image(nv21, format="nv21"), right)
    assert encoder.encode_image(tight, format="yuv420", color="bt709-full").tobytes() != right.tobytes()
    # Grey in full range is grey.
    tight[480:] = 128
    same(encoder.encode_image(tight, format="i420", color="bt601-full"), encoder.encode_image(tight[:480]))


def test_yuyv_and_uyvy(encoder, frame):
    luma, blue, red = frame[:, :, 0], frame[:, ::2, 1], frame[:, ::2, 2]
    yuyv = numpy.stack([luma, numpy.stack([blue, red], 2).reshape(480, 640)], 2)
    right = encoder.encode_image(yuyv, format="yuyv")
    same(encoder.encode_image(yuyv[:, :, ::-1], format="uyvy"), right)
    rows = numpy.pad(yuyv.reshape(480, 1280), ((0, 0), (0, 20)))
    same(encoder.encode_image(rows, format="yuyv", size=(640, 480)), right)


def test_batches(encoder, frame):
    images = [PHOTOS[0], frame, PIL.Image.open(PHOTOS[1]), PHOTOS[2].read_bytes(), frame[:50]]
    found = encoder.encode_image(images)
    assert found.shape == (5, encoder.embed_dim)
    for image, embedding in zip(images, found):
        same(encoder.encode_image(image), embedding)
    stack = numpy.stack([frame, frame[::-1]])
    same(encoder.encode_image(stack), encoder.encode_image(list(stack)))
    assert encoder.encode_image([]).shape == (0, encoder.embed_dim)


def test_layers(model, encoder, frame):
    patches = encoder.encode_image(frame, layer="patch")
    info = model.info()["image"]
    side = info["height"] // info["patch"]
    assert patches.shape == (side, side, info["tower_width"])
    assert encoder.encode_image([frame, frame], layer="patch").shape == (2, *patches.shape)
    assert numpy.allclose(numpy.linalg.norm(patches, axis=2), 1, atol=1e-5)
    for layer in ("pooled", "cls"):
        assert encoder.encode_image(frame, layer=layer).shape == (info["tower_width"],)
    raw = encoder.encode_image(frame, normalize=False)
    assert numpy.allclose(raw / numpy.linalg.norm(raw), encoder.encode_image(frame), atol=1e-6)
    with pytest.raises(ocelli.Error, match="no layer"):
        encoder.encode_image(frame, layer="last")


def test_the_frame_and_normalised_pixels(model, encoder, frame):
    shown = encoder.frame(frame)
    info = model.info()["image"]
    assert shown.shape == (info["height"], info["width"], 3) and shown.dtype == numpy.uint8
    pixels = (shown / numpy.float32(255) - numpy.float32(info["mean"])) / numpy.float32(info["std"])
    found = encoder.encode_normalized(pixels.transpose(2, 0, 1)[None])[0]
    assert found @ encoder.encode_image(frame) > 0.9999
    with pytest.raises(ocelli.Error, match="shape"):
        encoder.encode_normalized(pixels)
    with pytest.raises(ocelli.Error, match="32, 32"):
        encoder.encode_normalized(numpy.zeros((1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (numpy.zeros((4, 4, 3)), {}, "uint8, not of float64"),
        (numpy.zeros((4, 4, 5), numpy.uint8), {}, "no image"),
        (numpy.zeros((4, 4, 3), numpy.uint8), {"format": "rgba"}, "no image in rgba"),
        (numpy.zeros((4, 4, 3), numpy.uint8), {"format": "mauve"}, "'?mauve'? is no pixel format|\"mauve\""),
        (numpy.zeros((0, 4, 3), numpy.uint8), {}, "empty"),
        (numpy.zeros((4,), numpy.uint8), {}, "no image"),
        (numpy.zeros((6, 4), numpy.uint8), {"format": "yuv420", "size": (5, 4)}, "stride"),
        (numpy.zeros((6, 4), numpy.uint8), {"format": "yuv420", "size": (4, 6)}, "too short"),
        (numpy.zeros((6, 4), numpy.uint8), {"format": "yuv420", "color": "bt2020"}, "no colour"),
        (numpy.zeros((6, 4, 3), numpy.uint8), {"format": "yuv420"}, "rows of all planes"),
        (numpy.zeros((6, 4), numpy.uint8), {"size": (4, 4)}, "need a format"),
        (numpy.zeros((6, 4, 3), numpy.uint8), {"size": (6, 4)}, "not 6 x 4"),
        (numpy.zeros((70_000, 1), numpy.uint8), {}, "too large"),
        (b"no picture", {}, "picture"),
        (None, {}, "uint8"),
    ],
)
def test_what_is_no_image(encoder, image, options, words):
    with pytest.raises(ocelli.Error, match=words):
        encoder.encode_image(image, **options)


def test_files_that_cannot_be_read(encoder, tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        encoder.encode_image(tmp_path / "nothing.jpg")
    assert raised.value.filename == str(tmp_path / "nothing.jpg")
    assert "cannot read the picture" in str(raised.value)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTOS[0].read_bytes()[:100])
    with pytest.raises(ocelli.PictureError, match="broken.jpg"):
        encoder.encode_image(broken)


def test_the_interpreter_is_free_meanwhile(frame):
    """A thread of Python gets on while another one encodes."""
    model = ocelli.Model.open(DEMO)
    encoder = ocelli.ImageEncoder(model, runtime=ocelli.Runtime(threads=1), batch=64)
    images, done, ticks = [frame] * 64, threading.Event(), []

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticking = threading.Thread(target=tick)
    ticking.start()
    start = time.perf_counter()
    encoder.encode_image(images)
    end = time.perf_counter()
    done.set()
    ticking.join()
    # One call of the native module, some hundred milliseconds long.
    meanwhile = [at for at in ticks if start < at < end]
    assert len(meanwhile) >= 5, f"{len(meanwhile)} ticks in {end - start:.3f} s"


def test_threads_that_share_an_encoder(encoder, frame):
    right = encoder.encode_image(frame)
    found = []

    def work():
        found.extend(encoder.encode_image(frame).tobytes() == right.tobytes() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80
