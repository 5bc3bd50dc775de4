"""What the tests share: the demo model, the program, pictures."""

import os
import pathlib

import numpy
import pytest

import ocelli

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
DEMO = REPOSITORY / "tests" / "fixtures" / "cifar10" / "cifar10.ocelli"
PHOTOS = [REPOSITORY / "examples" / f"{name}.jpg" for name in ("ship", "cat", "astronaut")]


@pytest.fixture(scope="session")
def model():
    return ocelli.Model.open(DEMO)


@pytest.fixture(scope="session")
def encoder(model):
    return ocelli.ImageEncoder(model, batch=3)


@pytest.fixture(scope="session")
def program():
    """The program `ocelli`, which must give the same bits."""
    path = os.environ.get("OCELLI_PROGRAM")
    if not path:
        pytest.skip("OCELLI_PROGRAM does not name the program")
    return path


@pytest.fixture
def frame():
    """640 x 480 pixels that are not all the same."""
    return numpy.random.default_rng(7).integers(0, 256, (480, 640, 3), numpy.uint8)
