"""OpenAI's own client: it asks for base64 unless told otherwise."""

import base64
import json
import os

from openai import BadRequestError, NotFoundError, OpenAI

image, text = json.loads(os.environ["OCELLI_EXPECTED"])
model, words = os.environ["OCELLI_MODEL"], os.environ["OCELLI_TEXT"]
client = OpenAI(base_url=os.environ["OCELLI_URL"] + "/v1", api_key="none", max_retries=0)


def close(found, expected):
    assert len(found) == len(expected) and max(abs(a - b) for a, b in zip(found, expected)) < 1e-6


assert model in [known.id for known in client.models.list()]
for more in [{}, {"encoding_format": "float"}, {"dimensions": len(text)}]:
    answer = client.embeddings.create(model=model, input=[words, "a dog"], **more)
    assert len(answer.data) == 2 and answer.usage.total_tokens > 0
    close(answer.data[0].embedding, text)
with open(os.environ["OCELLI_IMAGE"], "rb") as file:
    uri = "data:image/jpeg;base64," + base64.b64encode(file.read()).decode()
answer = client.embeddings.create(model=model, input=uri, extra_body={"modality": "image"})
close(answer.data[0].embedding, image)
for wrong, error in [({"input": [1, 2]}, BadRequestError), ({"input": "x", "model": "none"}, NotFoundError)]:
    try:
        client.embeddings.create(**{"model": model, **wrong})
        raise SystemExit(f"{wrong} was accepted")
    except error as refused:
        assert refused.body["message"]
