#!/usr/bin/env python3
"""Images per second from Python, and of the program, for the same work: normalised pixels to embedding, one at a time, in
alternating rounds. speed.py PROGRAM MODEL [ROUNDS [IMAGES]]

Medians of the rounds' medians, and their ratio. The second figure from Python is the whole way of a camera's frame of 640 x 480
(resizing included), which the program's profile does not have.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy

import ocelli


def main() -> None:
    program, path = sys.argv[1:3]
    rounds, images = (int(value) for value in [*sys.argv[3:], "9", "40"][:2])
    encoder = ocelli.ImageEncoder(ocelli.Model.open(path), runtime=ocelli.Runtime(threads=1))
    pixels = numpy.random.default_rng(1).standard_normal((1, 3, *encoder.image_size)).astype(numpy.float32)
    frame = numpy.random.default_rng(2).integers(0, 256, (480, 640, 3), numpy.uint8)

    def timed(work) -> float:
        work()
        found = []
        for _ in range(images):
            start = time.perf_counter()
            work()
            found.append(1000 * (time.perf_counter() - start))
        return statistics.median(found)

    def of_program() -> float:
        command = [program, "profile", "--model", path, "--threads", "1", "--iters", str(images), "--json", "--quiet"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)["p50_ms"]

    table = [
        (of_program(), timed(lambda: encoder.encode_normalized(pixels)), timed(lambda: encoder.encode_image(frame)))
        for _ in range(rounds)
    ]
    program_ms, python_ms, frame_ms = (statistics.median(column) for column in zip(*table))
    print(f"program           {program_ms:9.3f} ms")
    print(f"Python            {python_ms:9.3f} ms   {program_ms / python_ms:.3f} of the program's rate")
    print(f"Python, a frame   {frame_ms:9.3f} ms")


if __name__ == "__main__":
    main()
