"""ocelli and its peers on the image tower of CLIP ViT-B/16, interleaved, each measurement in a process of its own."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "target/peers/data"
PICTURES, PICTURE, EMBEDDINGS = DATA / "pictures.f32", DATA / "picture.f32", DATA / "embeddings.f32"
DIM, IMAGE = 512, (1, 3, 224, 224)


# One measurement, in a process of its own.

def load_ort(file, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

    def load():
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {"pixel_values": image})[0]

    return load


def load_openvino(file, threads):
    import openvino

    # Without the precision hint, newer CPUs would compute in bfloat16.
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def load():
        request = openvino.Core().compile_model(file, "CPU", hints).create_infer_request()
        return lambda image: request.infer({0: image})[0]

    return load


def load_torch(file, threads):
    import torch
    from transformers import CLIPVisionModelWithProjection

    torch.set_num_threads(threads)

    def load():
        model = CLIPVisionModelWithProjection.from_pretrained(file).eval()
        def embed(image):
            with torch.inference_mode():
                return model(torch.from_numpy(image)).image_embeds.numpy()
        return embed

    return load


LOADERS = {"ort": load_ort, "openvino": load_openvino, "torch": load_torch}


def worker(library, file, pixels, threads, iters):
    """Loads, embeds every picture, times the first; prints what `ocelli profile --json` prints of the same."""
    images = [np.ascontiguousarray(image.reshape(IMAGE)) for image in np.fromfile(pixels, "<f4").reshape(-1, *IMAGE)]
    load = LOADERS[library](file, threads)
    start = time.perf_counter()
    embed = load()
    embed(images[0])
    load_ms = (time.perf_counter() - start) * 1e3
    np.concatenate([embed(image) for image in images]).astype("<f4").tofile(EMBEDDINGS)
    ms = []
    for _ in range(iters):
        start = time.perf_counter()
        embed(images[0])
        ms.append((time.perf_counter() - start) * 1e3)
    kib = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
    print(json.dumps({"ms": ms, "load_ms": load_ms, "rss_mb": kib * 1.024 / 1e3}))


# All of them.

def peers():
    """name → (library, file)"""
    table = {}
    for precision in ["int8", "int8-96", "int8w7", "fp16", "fp32"]:
        table[f"ocelli-{precision}"] = ("ocelli", f"{precision}.ocelli")
    for variant in ["int8-s8-rr", "int8-s8", "int8-u8", "fp32"]:
        table[f"ort-{variant}"] = ("ort", f"{variant}.onnx")
        # rten 0.27 runs the u8 file, but to a wrong result.
        if variant != "int8-u8":
            table[f"rten-{variant}"] = ("rten", f"{variant}.onnx")
    table["openvino-fp32"] = ("openvino", "fp32.onnx")
    table["torch-fp32"] = ("torch", "checkpoint")
    return table


def command(library, file, pixels, threads, iters, tools):
    if library == "ocelli":
        return [
            tools["ocelli"], "profile", "--json", "--model", file, "--pixels", pixels, "--embeddings-out", EMBEDDINGS,
            "--iters", iters, "--threads", threads,
        ]
    if library == "rten":
        return [tools["rten"], file, pixels, EMBEDDINGS, iters]
    return [sys.executable, __file__, "--worker", library, file, pixels, threads, iters]


def run(peer, pixels, threads, iters, tools):
    """Milliseconds and MB of one process, which leaves its embeddings of all `pixels` behind."""
    library, file = peer
    EMBEDDINGS.unlink(missing_ok=True)
    arguments = [str(argument) for argument in command(library, DATA / file, pixels, threads, iters, tools)]
    environment = {"OMP_NUM_THREADS": str(threads), "RTEN_NUM_THREADS": str(threads)}
    if mask := os.environ.get("PEERS_PRELOAD"):
        environment["LD_PRELOAD"] = mask
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {key: found[key] for key in ("ms", "load_ms", "rss_mb")}


def accuracy():
    """Cosine to PyTorch's fp32 embeddings; centred: after subtracting their mean, which all pictures share."""
    reference = np.fromfile(DATA / "reference.f32", "<f4").reshape(-1, DIM).astype(np.float64)
    embeddings = np.fromfile(EMBEDDINGS, "<f4").reshape(reference.shape).astype(np.float64)

    def cosine(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    plain, mean = cosine(embeddings, reference), reference.mean(0)
    centred = cosine(embeddings - mean, reference - mean)
    return {"cos_mean": plain.mean(), "cos_min": plain.min(), "centred_mean": centred.mean()}


def summary(name, threads, runs, file, accuracy):
    ms = [value for run in runs for value in run["ms"]]
    size = sum(path.stat().st_size for path in ([file] if file.is_file() else file.glob("*.safetensors")))
    return {
        "peer": name, "threads": threads, "median_ms": statistics.median(ms), "min_ms": min(ms),
        "load_ms": min(run["load_ms"] for run in runs), "rss_mb": max(run["rss_mb"] for run in runs),
        "file_mb": size / 1e6, **accuracy, "runs": runs,
    }


def markdown(rows):
    columns = {
        "peer": "{}", "threads": "{}", "median_ms": "{:.1f}", "min_ms": "{:.1f}", "load_ms": "{:.0f}", "rss_mb": "{:.0f}",
        "file_mb": "{:.1f}", "cos_mean": "{:.5f}", "cos_min": "{:.5f}", "centred_mean": "{:.5f}",
    }
    heads = [column.replace("_", " ").replace("rss mb", "peak MB").replace("file mb", "file MB") for column in columns]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in sorted(rows, key=lambda row: (row["threads"], row["median_ms"])):
        lines.append("| " + " | ".join(form.format(row[key]) for key, form in columns.items()) + " |")
    return "\n".join(lines)


def output_of(*arguments):
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def cpu():
    """The CPU's name, and those of its flags that matter here."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)", text, re.M)
    flags = set(re.search(r"^(?:flags|Features)\s*: (.*)", text, re.M)[1].split())
    matter = re.compile(r"avx2|fma|f16c|avx512(f|bw|_vnni|_bf16|_fp16)|avx_vnni|amx_\w+|asimd|asimddp|asimdhp|i8mm|sve2?")
    return name[1] if name else platform.machine(), {flag for flag in flags if matter.fullmatch(flag)}


def about(args, flags, name):
    packages = ["onnxruntime", "openvino", "torch", "transformers", "onnx"]
    versions = {package: importlib.metadata.version(package) for package in packages}
    manifest = (ROOT / "benches/peers/rten/Cargo.toml").read_text()
    versions["rten"] = re.search(r'^rten = "=(.*)"', manifest, re.M)[1]
    changed = " with local changes" if output_of("git", "status", "--porcelain", "--untracked-files=no") else ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    hidden = ""
    if args.as_avx2:
        hidden = "; seen without AVX-512, AVX-VNNI and AMX"
    elif args.without_amx:
        hidden = "; seen without AMX"
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": output_of("git", "rev-parse", "--short", "HEAD") + changed,
        "command": "benches/peers/run.sh " + " ".join(sys.argv[1:]),
        "cpu": f"{name}, {os.cpu_count()} CPUs; {' '.join(sorted(flags))}{hidden}",
        "system": f"{system}, {output_of('rustc', '--version')}",
        "versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
        "runs": f"{args.rounds} rounds of {args.iters} timed images",
        "load_average_before": f"{os.getloadavg()[0]:.2f}",
    }


def main():
    if sys.argv[1:2] == ["--worker"]:
        library, file, pixels, threads, iters = sys.argv[2:]
        return worker(library, file, pixels, int(threads), int(iters))
    name, flags = cpu()
    table = peers()
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="processes per peer and thread count (default: 5)")
    parser.add_argument("--iters", type=int, default=15, help="timed images per process (default: 15)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts (default: 1 2)")
    masked = parser.add_mutually_exclusive_group()
    sees = "every peer sees a CPU without {} (Linux, most Intel CPUs)"
    masked.add_argument("--as-avx2", action="store_true", help=sees.format("AVX-512, AVX-VNNI and AMX"))
    masked.add_argument("--without-amx", action="store_true", help=sees.format("AMX"))
    only = f"peers, or the first part of their names: {', '.join(table)}"
    parser.add_argument("--only", nargs="+", metavar="NAME", help=only)
    args = parser.parse_args()
    if args.only:
        chosen = tuple(f"{name}-" for name in args.only)
        table = {peer: what for peer, what in table.items() if f"{peer}-".startswith(chosen)}
    if not table or min(args.rounds, args.iters, *args.threads) < 1:
        parser.error("nothing to measure")
    tools = {tool: os.environ[f"PEERS_{tool.upper()}"] for tool in ("ocelli", "pack", "rten")}
    prepare = [sys.executable, ROOT / "benches/peers/prepare.py", DATA, ROOT / "examples", tools["pack"]]
    subprocess.run(prepare, check=True)

    facts = about(args, flags, name)
    runs = {(peer, threads): [] for threads in args.threads for peer in table}
    # Accuracy first, untimed, which also brings every file into memory: loading is measured warm.
    accuracies = {}
    for peer, what in table.items():
        run(what, PICTURES, max(args.threads), 1, tools)
        accuracies[peer] = accuracy()
        print(f"{peer}: mean cosine {accuracies[peer]['cos_mean']:.5f}", file=sys.stderr)
    for round in range(args.rounds):
        for threads in args.threads:
            for peer, what in table.items():
                found = run(what, PICTURE, threads, args.iters, tools)
                runs[peer, threads].append(found)
                median = statistics.median(found["ms"])
                print(f"round {round + 1}, {peer}, {threads} threads: {median:.1f} ms", file=sys.stderr)
    facts["load_average_after"] = f"{os.getloadavg()[0]:.2f}"
    rows = [
        summary(peer, threads, found, DATA / table[peer][1], accuracies[peer])
        for (peer, threads), found in runs.items()
    ]
    lines = [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()]
    text = "\n".join(lines) + f"\n\n{markdown(rows)}\n"
    (DATA.parent / "result.json").write_text(json.dumps({"about": facts, "rows": rows}, indent=1))
    (DATA.parent / "result.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
