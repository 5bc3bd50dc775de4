"""A service in Immich's dialect, built of what Immich's is built of: FastAPI, Pillow, NumPy, ONNX Runtime (int8, one session per
tower, requests on a pool of threads).

    FOLDER=... THREADS=2 uvicorn service:app --port 3004
"""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy
import onnxruntime
from fastapi import FastAPI, File, Form, HTTPException
from fastapi.responses import PlainTextResponse
from PIL import Image
from tokenizers import Tokenizer

FOLDER, THREADS, SIDE = Path(os.environ["FOLDER"]), int(os.environ["THREADS"]), 224
MEAN = numpy.float32([0.48145466, 0.4578275, 0.40821073])
STD = numpy.float32([0.26862954, 0.26130258, 0.27577711])

app = FastAPI()
pool = ThreadPoolExecutor(THREADS)
sessions = {}
tokenizer = Tokenizer.from_file(str(FOLDER / "checkpoint" / "tokenizer.json"))
tokenizer.enable_padding(length=77, pad_id=49407)
tokenizer.enable_truncation(77)


def session(name):
    if name not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        sessions[name] = onnxruntime.InferenceSession(FOLDER / f"{name}.onnx", options, ["CPUExecutionProvider"])
    return sessions[name]


def visual(image):
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, int(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    levels = numpy.asarray(image.crop((left, top, left + SIDE, top + SIDE)), numpy.float32) / 255
    pixels = ((levels - MEAN) / STD).transpose(2, 0, 1)[None]
    return session("visual").run(None, {"x": pixels})[0][0]


def textual(text):
    ids = numpy.int64([tokenizer.encode(text).ids])
    return session("textual").run(None, {"x": ids})[0][0]


def decode(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


async def on_pool(function, *args):
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(pool, partial(function, *args))


@app.get("/ping")
def ping():
    return PlainTextResponse("pong")


@app.post("/predict")
async def predict(entries: str = Form(), image: bytes | None = File(default=None), text: str | None = Form(default=None)):
    kinds = json.loads(entries)["clip"]
    if image is not None and "visual" in kinds:
        picture = await on_pool(decode, image)
        embedding = await on_pool(visual, picture)
        more = {"imageHeight": picture.height, "imageWidth": picture.width}
    elif text is not None and "textual" in kinds:
        embedding, more = await on_pool(textual, text), {}
    else:
        raise HTTPException(400, "Either image or text must be provided")
    return {"clip": json.dumps(embedding.tolist()), **more}
