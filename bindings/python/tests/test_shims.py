"""Programs that were written for open_clip and sentence-transformers."""

import numpy
import PIL.Image
import pytest
from conftest import DEMO, PHOTOS

import ocelli
from ocelli import open_clip
from ocelli.sentence_transformers import SentenceTransformer


def test_open_clips_first_example():
    model, _, preprocess = open_clip.create_model_and_transforms(str(DEMO), pretrained="laion2b_s34b_b79k")
    model = model.eval().to("cpu")
    tokenizer = open_clip.get_tokenizer(str(DEMO))
    image = preprocess(PIL.Image.open(PHOTOS[0]))[None]
    assert image.shape == (1, 3, 32, 32) and image.dtype == numpy.float32
    text = tokenizer(["a ship", "a dog", "a cat"])
    assert text.dtype == numpy.int64 and text.shape == (3, model.model.info()["text"]["context"])
    image_features = model.encode_image(image)
    text_features = model.encode_text(text)
    image_features /= numpy.linalg.norm(image_features, axis=-1, keepdims=True)
    text_features /= numpy.linalg.norm(text_features, axis=-1, keepdims=True)
    logits = numpy.exp(model.logit_scale) * image_features @ text_features.T
    assert logits.argmax() == 0
    images, texts, scale = model(image, text)
    assert numpy.allclose(images, image_features, atol=1e-6) and numpy.allclose(texts, text_features, atol=1e-6)
    assert abs(scale / model.model.info()["logit_scale"] - 1) < 1e-5


def test_open_clips_names_take_more_than_tensors():
    model, preprocess = open_clip.create_model_from_pretrained(DEMO)
    photo = PIL.Image.open(PHOTOS[1])
    right = model.model.encode_image(photo)
    found = model.encode_image(photo, normalize=True)
    assert found.shape == (1, model.model.embed_dim) and found[0].tobytes() == right.tobytes()
    assert model.encode_image([photo, PHOTOS[0]], normalize=True).shape == (2, model.model.embed_dim)
    assert model.encode_image(preprocess(photo)[None], normalize=True)[0] @ right > 0.9999

    class Tensor:
        """As torch's on the CPU."""

        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    tokens = open_clip.get_tokenizer(DEMO)(["a cat"])
    for text in (tokens, Tensor(tokens), "a cat", ["a cat"]):
        found = model.encode_text(text, normalize=True)
        assert found[0].tobytes() == model.model.encode_text("a cat").tobytes()
    pixels = preprocess(photo)[None]
    assert model.encode_image(Tensor(pixels)).tobytes() == model.encode_image(pixels).tobytes()
    assert open_clip.get_tokenizer(DEMO)(["a ship at sea"], context_length=4).shape == (1, 4)
    for wrong in (numpy.float32([[1]]), numpy.int64([1]), numpy.int64([[-1]]), numpy.int64([[10**9]])):
        with pytest.raises(ocelli.Error):
            model.encode_text(wrong)


def test_sentence_transformers_example():
    model = SentenceTransformer(str(DEMO), device="cpu")
    photos = [PIL.Image.open(PHOTOS[0]), PHOTOS[1]]
    images = model.encode(photos, batch_size=8, show_progress_bar=False)
    texts = model.encode(["a ship", "a cat"])
    assert images.shape == (2, model.get_sentence_embedding_dimension())
    assert numpy.array_equal(model.similarity(images, texts).argmax(1), [0, 1])
    mixed = model.encode(["a ship", photos[0]], normalize_embeddings=True)
    assert mixed[0].tobytes() == model.model.encode_text("a ship").tobytes()
    assert mixed[1].tobytes() == model.model.encode_image(photos[0]).tobytes()
    assert model.encode("a cat").shape == model.encode(photos[0]).shape == (model.model.embed_dim,)
    assert model.encode([]).shape == (0, model.model.embed_dim)
    frames = numpy.zeros((2, 32, 32, 3), numpy.uint8)
    assert model.encode(frames).shape == (2, model.model.embed_dim)
