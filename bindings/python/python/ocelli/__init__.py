"""CLIP and Vision Transformers on small CPUs: images and texts to embeddings, images to labels.

    import ocelli

    model = ocelli.Model.open("clip-b16.ocelli")
    model.encode_image("photo.jpg")                         # numpy, float32, of length 1
    model.encode_text(["a photo of a cat"])
    model.classify("photo.jpg", ["a cat", "a dog"])[0].label

An image is a numpy array of uint8 (or anything with the buffer protocol or ``__array__``), a PIL image, the bytes of a
picture file, or a path. Arrays are not copied, whatever their row stride; the interpreter's lock is released while ocelli
works. Encoders are safe to share between threads, which take turns. The threads of a runtime do not survive ``os.fork``:
open models after it.
"""

from ._bank import Bank
from ._encoders import Classifier, ImageEncoder, Score, TextEncoder
from ._model import Model
from ._native import Error, PictureError, __version__
from ._runtime import Runtime

__all__ = [
    "Bank",
    "Classifier",
    "Error",
    "ImageEncoder",
    "Model",
    "PictureError",
    "Runtime",
    "Score",
    "TextEncoder",
    "__version__",
]
