"""ocelli index next to rclip: time for a photo, and memory.

    python benches/peers/rclip.py OCELLI OCELLI_PACK [ROUNDS]

needs rclip 3.3, onnx and safetensors from PyPI in the Python that runs it, and about 1 GB in the folder for temporary files.
rclip's model can't be had without its download; both run a ViT-B/32 of 256 x 256 pixels, as rclip's is, with one set of random
weights: rclip as fp32 in ONNX Runtime through its own program, ocelli in int8w7. Each round indexes 8 photos of 1 megapixel
and 32 with each program, one after the other, into new indexes. A photo's time is the difference by 24, so that the start is
left out, of the least times of all rounds. The embeddings of both must agree.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image
from safetensors.numpy import save_file

WIDTH, HIDDEN, HEADS, DEPTH, OUT, SIDE, PATCH = 768, 3072, 12, 12, 512, 256, 32
TOKENS = 1 + (SIDE // PATCH) ** 2
FEW, MANY = 8, 32
EXAMPLES = Path(__file__).parents[2] / "examples"


def weights():
    """Random weights by their names in transformers, whose attention is not uniform."""
    random = np.random.default_rng(0)

    def normal(*shape, scale):
        return (random.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32)

    tensors = {
        "embeddings.class_embedding": normal(WIDTH, scale=0.5),
        "embeddings.patch_embedding.weight": normal(WIDTH, 3, PATCH, PATCH, scale=(3 * PATCH * PATCH) ** -0.5),
        "embeddings.position_embedding.weight": normal(TOKENS, WIDTH, scale=0.5),
    }

    def norm(name):
        tensors[name + ".weight"] = np.exp(normal(WIDTH, scale=0.25))
        tensors[name + ".bias"] = normal(WIDTH, scale=0.1)

    def linear(name, n, k, gain=1.0):
        tensors[name + ".weight"] = normal(n, k, scale=gain * k**-0.5)
        tensors[name + ".bias"] = normal(n, scale=0.1)

    norm("pre_layrnorm")
    for layer in range(DEPTH):
        at = f"encoder.layers.{layer}."
        norm(at + "layer_norm1")
        for part in "qkv":
            linear(at + f"self_attn.{part}_proj", WIDTH, WIDTH, 1.0 if part == "v" else 1.3)
        linear(at + "self_attn.out_proj", WIDTH, WIDTH)
        norm(at + "layer_norm2")
        linear(at + "mlp.fc1", HIDDEN, WIDTH)
        linear(at + "mlp.fc2", WIDTH, HIDDEN)
    norm("post_layernorm")
    return tensors, normal(OUT, WIDTH, scale=WIDTH**-0.5)


def checkpoint(folder, tensors, projection):
    """For ocelli-pack."""
    folder.mkdir()
    named = {"vision_model." + name: tensor for name, tensor in tensors.items()}
    save_file(named | {"visual_projection.weight": projection}, folder / "model.safetensors")
    config = {
        "architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model", "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "image_size": SIDE,
        "patch_size": PATCH, "projection_dim": OUT, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
    }
    (folder / "config.json").write_text(json.dumps(config))
    processor = {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE}, "resample": 3, "do_resize": True, "do_center_crop": True,
        "do_convert_rgb": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def graph(file, tensors, projection):
    """The same as ONNX, with the names that rclip expects."""
    nodes, constants = [], {}

    def constant(value):
        name = f"c{len(constants)}"
        constants[name] = np.asarray(value)
        return name

    def op(kind, *inputs, **attributes):
        name = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def norm(x, name):
        scale, bias = (constant(tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return op("LayerNormalization", x, scale, bias, epsilon=1e-5)

    def linear(x, name):
        product = op("MatMul", x, constant(np.ascontiguousarray(tensors[name + ".weight"].T)))
        return op("Add", product, constant(tensors[name + ".bias"]))

    def heads(x, order):
        split = op("Reshape", x, constant(np.int64([0, TOKENS, HEADS, WIDTH // HEADS])))
        return op("Transpose", split, perm=order)

    x = op("Conv", "input", constant(tensors["embeddings.patch_embedding.weight"]), strides=[PATCH, PATCH])
    x = op("Transpose", op("Reshape", x, constant(np.int64([0, WIDTH, -1]))), perm=[0, 2, 1])
    # As often as there are pictures.
    batch = op("Shape", "input", start=0, end=1)
    shape = op("Concat", batch, constant(np.int64([1, WIDTH])), axis=0)
    first = op("Expand", constant(tensors["embeddings.class_embedding"].reshape(1, 1, WIDTH)), shape)
    x = op("Add", op("Concat", first, x, axis=1), constant(tensors["embeddings.position_embedding.weight"]))
    x = norm(x, "pre_layrnorm")
    for layer in range(DEPTH):
        at = f"encoder.layers.{layer}."
        y = norm(x, at + "layer_norm1")
        q, k, v = (linear(y, at + f"self_attn.{part}_proj") for part in "qkv")
        scores = op("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]))
        scores = op("Mul", scores, constant(np.float32((WIDTH // HEADS) ** -0.5)))
        mixed = op("MatMul", op("Softmax", scores, axis=-1), heads(v, [0, 2, 1, 3]))
        mixed = op("Reshape", op("Transpose", mixed, perm=[0, 2, 1, 3]), constant(np.int64([0, TOKENS, WIDTH])))
        x = op("Add", x, linear(mixed, at + "self_attn.out_proj"))
        y = linear(norm(x, at + "layer_norm2"), at + "mlp.fc1")
        x = op("Add", x, linear(op("Gelu", y), at + "mlp.fc2"))
    x = norm(op("Gather", x, constant(np.int64(0)), axis=1), "post_layernorm")
    nodes.append(helper.make_node("MatMul", [x, constant(np.ascontiguousarray(projection.T))], ["output"]))
    tensor = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        nodes, "tower", [helper.make_tensor_value_info("input", tensor, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", tensor, ["n", OUT])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)


def photos(folder, count):
    """Photos of 1152 x 864 pixels: windows of the project's examples."""
    folder.mkdir()
    sources = [image for path in sorted(EXAMPLES.glob("*.jpg")) if min((image := Image.open(path)).size) > 200]
    for number in range(count):
        photo = sources[number % len(sources)].convert("RGB")
        width, height = (int(side * (0.9 - 0.02 * (number // len(sources)))) for side in photo.size)
        photo = photo.crop((0, 0, width, height)).resize((1152, 864), Image.Resampling.BICUBIC)
        photo.save(folder / f"{number:02}.jpg", quality=90)


def measured(command, folder, environment):
    """Seconds, seconds of CPU, and MB of memory at most."""
    start, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=said, stderr=said)
        # What wait4 says of memory begins with that of this process, of which the child was forked.
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            peak = max(peak, high_water(child.pid))
            time.sleep(0.02)
        _, status, usage = ended
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            sys.exit(f"{command[0]} failed:\n{said.read().decode(errors='replace')}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, peak


def high_water(pid):
    """The most memory that a process had resident until now, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), 0)


def main(ocelli, pack, rounds):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        tensors, projection = weights()
        checkpoint(work / "checkpoint", tensors, projection)
        model = work / "tower.ocelli"
        convert = ["convert", work / "checkpoint", "-o", model, "--precision", "int8w7", "--vision-only"]
        subprocess.run([pack, *convert], check=True, stdout=subprocess.DEVNULL)
        kept = work / "rclip" / "ViT-B-32-256-datacomp_s34b_b86k"
        kept.mkdir(parents=True)
        graph(kept / "visual.onnx", tensors, projection)
        # Never opened: no words are asked for.
        (kept / "textual.onnx").touch()
        (work / "rclip" / "tokenizer").mkdir()
        (work / "rclip" / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz").touch()
        for count in (FEW, MANY):
            photos(work / str(count), count)
        rclip, database = Path(sys.executable).parent / "rclip", work / "rclip" / "db.sqlite3"
        results = {}
        for turn in range(rounds):
            for count in (FEW, MANY):
                folder = work / str(count)
                database.unlink(missing_ok=True)
                # A picture as the query: asking takes as long for few as for many.
                command = [rclip, "./00.jpg"]
                results.setdefault(("rclip", count), []).append(
                    measured(command, folder, {"RCLIP_DATADIR": str(work / "rclip"), "HF_HUB_OFFLINE": "1"}))
                index = work / f"index-{turn}-{count}"
                command = [ocelli, "index", folder, "--index", index, "--model", model, "--priority", "normal"]
                results.setdefault(("ocelli", count), []).append(measured(command, folder, {}))
        agree(ocelli, index, database, work)
    report(results)


def agree(ocelli, index, database, work):
    """The last indexes of both have the same photos, and near embeddings for each."""
    subprocess.run([ocelli, "export", "--index", index, "--npy", work / "npy"], check=True)
    rows = np.load(work / "npy" / "vectors.npy")
    lines = [json.loads(line) for line in open(work / "npy" / "pictures.jsonl")]
    theirs = dict(sqlite3.connect(database).execute("SELECT filepath, vector FROM images"))
    cosines = [row @ np.frombuffer(theirs[line["path"]], np.float32) for line, row in zip(lines, rows, strict=True)]
    assert len(theirs) == len(lines) == MANY and min(cosines) > 0.95, (len(theirs), len(lines), min(cosines))
    print(f"the same {MANY} photos, cosines of {min(cosines):.3f} or more")


def report(results):
    photo = {}
    for program in ("rclip", "ocelli"):
        few, many = (np.array(results[program, count]) for count in (FEW, MANY))
        wall, cpu, _ = (many.min(0) - few.min(0)) * 1e3 / (MANY - FEW)
        photo[program] = wall, cpu, many[:, 2].min()
        print(f"{program}: {wall:.0f} ms a photo, {cpu:.0f} ms of CPU; {photo[program][2]:.0f} MB at most")
    ratios = np.array(photo["rclip"]) / np.array(photo["ocelli"])
    print("rclip takes {:.1f} times the time, {:.1f} times the CPU time, {:.1f} times the memory".format(*ratios))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*map(os.path.abspath, sys.argv[1:3]), int(sys.argv[3]) if len(sys.argv) == 4 else 3)
