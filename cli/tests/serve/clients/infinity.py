"""Infinity's client, the generated one and the one for pictures."""

import json
import os

from infinity_client import Client
from infinity_client.api.default import embeddings, health, models
from infinity_client.models import OpenAIEmbeddingInputText
from infinity_client.vision_client import InfinityVisionAPI
from PIL import Image

image, text = json.loads(os.environ["OCELLI_EXPECTED"])
url, model, words = os.environ["OCELLI_URL"], os.environ["OCELLI_MODEL"], os.environ["OCELLI_TEXT"]


def close(found, expected, tolerance=1e-6):
    assert len(found) == len(expected) and max(abs(a - b) for a, b in zip(found, expected)) < tolerance


with Client(base_url=url, raise_on_unexpected_status=True) as client:
    health.sync(client=client)
    assert model in [known.id for known in models.sync(client=client).data]
    body = OpenAIEmbeddingInputText(model=model, input_=[words])
    close(embeddings.sync(client=client, body=body).data[0].embedding, text)

vision = InfinityVisionAPI(url=url, model=model)
found, _ = vision.embed(model, [words]).result()
close(found[0][0].tolist(), text)
# It saves pictures as JPEG again, which changes them a little.
found, _ = vision.embed(model, [Image.open(os.environ["OCELLI_IMAGE"])]).result()
assert sum(a * b for a, b in zip(found[0][0].tolist(), image)) > 0.9
