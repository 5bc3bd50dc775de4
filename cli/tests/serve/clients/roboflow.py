"""Roboflow's client for its inference server."""

import json
import os

import numpy
from inference_sdk import InferenceHTTPClient

image, text = json.loads(os.environ["OCELLI_EXPECTED"])
path, words = os.environ["OCELLI_IMAGE"], os.environ["OCELLI_TEXT"]
client = InferenceHTTPClient(api_url=os.environ["OCELLI_URL"], api_key="none")


def close(found, expected, tolerance=1e-6):
    assert len(found) == len(expected) and max(abs(a - b) for a, b in zip(found, expected)) < tolerance


cosine = float(numpy.dot(image, text))
# It reads the file and saves it as JPEG again, which changes the picture a little.
found = client.get_clip_image_embeddings(inference_input=path)["embeddings"][0]
assert numpy.dot(found, image) > 0.9
two = client.get_clip_image_embeddings(inference_input=[path, path])
assert len(two) == 2
close(client.get_clip_text_embeddings(text=words)["embeddings"][0], text)
answer = client.clip_compare(subject=path, prompt=[words, "a dog"])
assert len(answer["similarity"]) == 2 and abs(answer["similarity"][0] - cosine) < 0.2
answer = client.clip_compare(subject=words, subject_type="text", prompt=path, prompt_type="image")
assert abs(answer["similarity"][0] - cosine) < 0.2
