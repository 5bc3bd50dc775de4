"""Models, texts, labels, and what the program gives."""

import json
import pickle
import subprocess

import numpy
import pytest
from conftest import DEMO, PHOTOS

import ocelli


def test_info(model):
    info = model.info()
    assert info["embed_dim"] == model.embed_dim
    assert (info["image"]["height"], info["image"]["width"]) == (32, 32)
    assert info["bytes"] == DEMO.stat().st_size
    assert len(info["checkpoint_id"]) == 32
    assert isinstance(info["provenance"], dict) and info["provenance"]
    assert sum(info["precision"].values()) > 1_000_000
    assert model.has_image and model.has_text
    assert "ship" in model.labels and len(model.labels) == 10
    assert "image and text" in repr(model)


def test_models_from_bytes_and_copied(model, frame):
    right = model.encode_image(frame)
    for other in (
        ocelli.Model.from_bytes(DEMO.read_bytes(), verify=True),
        ocelli.Model.open(str(DEMO), copy=True),
        ocelli.Model.open(DEMO, runtime=ocelli.Runtime(threads=1)),
    ):
        assert other.encode_image(frame).tobytes() == right.tobytes()
    # Other instruction sets round floats otherwise.
    scalar = ocelli.Model.open(DEMO, runtime=ocelli.Runtime(isa="scalar"))
    assert scalar.encode_image(frame) @ right > 0.999


def test_models_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        ocelli.Model.open(tmp_path / "nothing.ocelli")
    with pytest.raises(ocelli.Error, match=r"ship\.jpg.*JPEG"):
        ocelli.Model.open(PHOTOS[0])
    with pytest.raises(ocelli.Error, match="folder"):
        ocelli.Model.open(tmp_path)
    damaged = bytearray(DEMO.read_bytes())
    damaged[-100] ^= 1
    with pytest.raises(ocelli.Error, match="damaged"):
        ocelli.Model.from_bytes(damaged, verify=True)
    with pytest.raises(ocelli.Error):
        ocelli.Model.from_bytes(b"")
    assert issubclass(ocelli.Error, ValueError) and issubclass(ocelli.PictureError, ocelli.Error)
    error = pickle.loads(pickle.dumps(ocelli.Error("message")))
    assert str(error) == "message"


def test_runtimes():
    runtime = ocelli.Runtime(threads=2, isa="scalar")
    assert (runtime.threads, runtime.isa) == (2, "scalar")
    for arguments, words in (({"threads": 0}, "thread"), ({"threads": 10**6}, "thread"), ({"isa": "mmx"}, "mmx")):
        with pytest.raises(ocelli.Error, match=words):
            ocelli.Runtime(**arguments)
    with pytest.raises((OverflowError, TypeError)):
        ocelli.Runtime(threads=-1)


def test_texts(model):
    encoder = ocelli.TextEncoder(model)
    found = encoder.encode_text(["a ship", "a cat"])
    assert found.shape == (2, model.embed_dim)
    assert found[0].tobytes() == encoder.encode_text("a ship").tobytes()
    ids = encoder.tokenize(["a ship"])
    assert encoder.encode_ids(ids)[0].tobytes() == found[0].tobytes()
    assert encoder.encode_text([]).shape == (0, model.embed_dim)
    with pytest.warns(UserWarning, match="was cut"):
        encoder.encode_text("ship " * 200)
    with pytest.raises(ocelli.Error, match="vocabulary"):
        encoder.encode_ids([[10**6]])
    with pytest.raises(OverflowError):
        encoder.encode_ids([[-1]])
    with pytest.raises(ocelli.Error, match="tokens"):
        encoder.encode_ids([[]])
    with pytest.raises(ocelli.Error, match="at most"):
        encoder.encode_text("x" * 20_000)
    with pytest.raises(TypeError):
        encoder.encode_text([None])


def test_labels_and_banks(model, tmp_path):
    encoder = ocelli.TextEncoder(model)
    bank = encoder.embed_labels(["ship", "cat"], ["a photo of a {}", "{} at night"])
    assert bank.labels == ["ship", "cat"] and len(bank) == 2
    assert bank.templates == ["a photo of a {}", "{} at night"]
    assert bank.embeddings.shape == (2, model.embed_dim)
    mean = encoder.encode_text(["a photo of a ship", "ship at night"]).sum(0)
    assert numpy.allclose(bank.embeddings[0], mean / numpy.linalg.norm(mean), atol=1e-6)
    bank.save(tmp_path / "two.bank")
    again = ocelli.Bank.open(tmp_path / "two.bank")
    assert again.embeddings.tobytes() == bank.embeddings.tobytes()
    assert ocelli.Bank.from_bytes((tmp_path / "two.bank").read_bytes()).labels == bank.labels
    scores = [
        ocelli.Classifier(model, labels).classify(PHOTOS[0])
        for labels in (bank, again, tmp_path / "two.bank", str(tmp_path / "two.bank"))
    ]
    assert all(found == scores[0] for found in scores) and scores[0][0].label == "ship"
    assert model.labels_bank().labels == model.labels
    with pytest.raises(ocelli.Error, match="not one text"):
        encoder.embed_labels("ship")
    with pytest.raises(ocelli.Error, match="no labels"):
        encoder.embed_labels([])
    with pytest.raises(ocelli.Error, match="has 0 times"):
        encoder.embed_labels(["a"], "no place")
    with pytest.raises(ocelli.Error, match="folder does not exist"):
        bank.save(tmp_path / "no folder" / "x.bank")
    with pytest.raises(ocelli.Error, match="not a label bank"):
        ocelli.Bank.open(DEMO)


def test_classify(model):
    own = model.classify(PHOTOS[0], top_k=3)
    assert len(own) == 3 and own[0].label == "ship" and own[0].score > 0.9
    assert own[0].label_index == model.labels.index("ship")
    found = model.classify(PHOTOS[1], ["a dog", "a cat"], "a photo of {}")
    assert [score.label for score in found] == ["a cat", "a dog"]
    assert abs(sum(score.score for score in found) - 1) < 1e-6
    # The same labels again are not embedded again; others are.
    kept = model._made[ocelli.Classifier][1]
    model.classify(PHOTOS[0], ["a dog", "a cat"], ["a photo of {}"])
    assert model._made[ocelli.Classifier][1] is kept
    assert model.classify(PHOTOS[0], ["ship", "cat"])[0].label == "ship"
    with pytest.raises(ocelli.Error, match="not one text"):
        model.classify(PHOTOS[0], "ship")


def test_the_program_gives_the_same_bits(model, encoder, program, tmp_path):
    """Embeddings, layers, texts and scores of the program, to the last bit."""

    def run(*arguments):
        command = [program, *arguments, "--model", str(DEMO), "--quiet"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    # Decimals are those that give the same float again.
    photos = [str(photo) for photo in PHOTOS]
    lines = run("embed", *photos, "--text", "a ship", "--json")
    expected = [*encoder.encode_image(PHOTOS), model.encode_text("a ship")]
    for line, right in zip(lines, expected, strict=True):
        assert numpy.float32(line["embedding"]).tobytes() == right.tobytes()
    [line] = run("embed", photos[0], "--layer", "patch", "--raw", "--json")
    right = encoder.encode_image(PHOTOS[0], layer="patch", normalize=False)
    assert line["grid"] == list(right.shape[:2])
    assert numpy.float32(line["patches"]).tobytes() == right.tobytes()
    for line, photo in zip(run("classify", *photos, "--json"), PHOTOS, strict=True):
        scores = model.classify(photo, top_k=5)
        for found, score in zip(line["labels"], scores, strict=True):
            assert found["label"] == score.label
            assert numpy.float32(found["score"]) == numpy.float32(score.score)
