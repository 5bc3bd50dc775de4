"""What Frigate asks a llama.cpp server for (frigate/genai/plugins/llama_cpp.py): models, properties, embeddings."""

import base64
import json
import os

import numpy
import requests

image, text = json.loads(os.environ["OCELLI_EXPECTED"])
url, model = os.environ["OCELLI_URL"], os.environ["OCELLI_MODEL"]


def get(path, **more):
    response = requests.get(url + path, timeout=10, **more)
    response.raise_for_status()
    return response.json()


entry = next(entry for entry in get("/v1/models")["data"] if entry["id"] == model)
assert "image" in entry["architecture"]["input_modalities"] and int(entry["meta"]["n_ctx"]) > 0
marker = get("/props", params={"model": model})["media_marker"]
with open(os.environ["OCELLI_IMAGE"], "rb") as file:
    encoded = base64.b64encode(file.read()).decode()
content = [
    {"prompt_string": os.environ["OCELLI_TEXT"]},
    {"prompt_string": f"{marker}\n", "multimodal_data": [encoded]},
]
response = requests.post(f"{url}/embeddings", json={"model": model, "content": content}, timeout=60)
response.raise_for_status()
for item, expected in zip(response.json(), [text, image], strict=True):
    found = numpy.array(item["embedding"], dtype=numpy.float32)
    # Vectors of tokens are averaged: here there is one.
    found = found.mean(axis=0) if found.ndim > 1 else found
    assert numpy.array_equal(found, numpy.array(expected, dtype=numpy.float32))
