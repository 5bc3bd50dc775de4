"""How near the embeddings of both services are to fp32, on this CPU.

    python accuracy.py FOLDER OCELLI MODEL... --fp32 MODEL --photos DIR

FOLDER is what prepare.py made; MODEL are packed files of its checkpoint, `--fp32` one with that precision. Prints for each, and for
the Python service's int8, the cosine to fp32: mean, least, and the mean after the mean embedding is taken away.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("ocelli", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    os.environ.update(FOLDER=str(args.folder), THREADS="2")
    import service

    photos = sorted(path for folder in args.photos for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "embeddings.npy"

        def packed(model):
            subprocess.run([args.ocelli, "embed", "--quiet", "--model", model, "-o", output, *photos], check=True)
            return numpy.load(output)

        exact = packed(args.fp32)
        found = {str(model): packed(model) for model in args.models}
    python = numpy.array([service.visual(service.decode(path.read_bytes())) for path in photos])
    found["the Python service"] = python / numpy.linalg.norm(python, axis=1, keepdims=True)
    mean = exact.mean(0)
    for name, embeddings in found.items():
        cosine = (exact * embeddings).sum(1)
        one, other = exact - mean, embeddings - mean
        centred = (one * other).sum(1) / numpy.linalg.norm(one, axis=1) / numpy.linalg.norm(other, axis=1)
        print(f"{name}: {len(photos)} photos, cosine {cosine.mean():.5f}, least {cosine.min():.5f}, centred {centred.mean():.4f}")


if __name__ == "__main__":
    main()
