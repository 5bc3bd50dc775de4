"""The same requests to `ocelli serve` and to a Python service like Immich's, on the same machine.

    python bench.py FOLDER OCELLI [--threads 2] [--clients 8] [--requests 200] [--rounds 1] [--only ocelli | python] [--decoded]

FOLDER is what prepare.py made. Each service is started by itself; clients ask for embeddings of photos (JPEG files) over
connections that are kept, after some requests that warm up. Prints milliseconds per picture, of the clock and of all CPUs; p50 and
p95 of a request; the first request, with the opening of the model; a text; and resident memory: the peak after the photos, the peak
after texts too, and what of it is the process's own (without mapped files).

With --decoded the pictures are BMP files of 224 x 224, whose decoding and resizing costs next to nothing, and before and after
each run of ocelli serve `ocelli profile` says what the encoder alone needs, with and without batches.
"""

import argparse
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = "ViT-B-16__bench"
BOUNDARY = "bench-boundary"


def form(entries, name, data):
    kind = '; filename="blob"\r\nContent-Type: application/octet-stream' if name == "image" else ""
    parts = [("entries", "", json.dumps(entries).encode()), (name, kind, data)]
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n'.encode() + data + b"\r\n"
        for name, kind, data in parts)
    return body + f"--{BOUNDARY}--\r\n".encode()


def visual(photo):
    return form({"clip": {"visual": {"modelName": MODEL}}}, "image", photo)


def textual(text):
    return form({"clip": {"textual": {"modelName": MODEL}}}, "text", text.encode())


def ask(connection, body):
    connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        sys.exit(f"{response.status}: {data[:300]}")
    return json.loads(json.loads(data)["clip"])


def cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def profile(args):
    """Milliseconds per image of the encoder alone, one at a time and in batches of four; of the clock, and of all CPUs."""
    found = []
    for batch in [1, 4]:
        # The difference of two runs is what so many images cost, without the opening of the model.
        few, many, spent = 5, 5 + args.iters, []
        for iters in [few, many]:
            command = [args.ocelli, "profile", "--json", "--quiet", "--batch", str(batch), "--iters", str(iters),
                       "--threads", str(args.threads), "--model", args.folder / "model.ocelli"]
            before = os.times()
            report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            after = os.times()
            spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        found.append((report["p50_ms"], 1e3 * (spent[1] - spent[0]) / (many - few) / batch))
    texts = [f"{wall:.1f} ms each, {used:.1f} ms of CPU" for wall, used in found]
    print(f"profile {texts[0]} alone; {texts[1]} in batches of 4", flush=True)


def decoded(photo):
    """A picture of 224 x 224 as BMP."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224)).save(out, "BMP")
    return out.getvalue()


def memory(pid):
    """(peak, own) of resident memory in MB, children included."""
    pids, total = [pid], [0, 0]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pids.append(int(child))
    for one in pids:
        status = Path(f"/proc/{one}/status").read_text()
        for i, name in enumerate(["VmHWM", "RssAnon"]):
            total[i] += int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1e3
    return total


def measure(name, command, environment, port, args, photos):
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        start = time.time()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.time() - start > 120:
                    sys.exit(f"{name} did not start")
                time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        first = time.time()
        ask(connection, visual(photos[0]))
        first = time.time() - first
        used = cpu(process.pid)
        times, lock, left = [], threading.Lock(), iter(range(args.warm + args.requests))

        def client():
            own = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            while True:
                with lock:
                    i = next(left, None)
                if i is None:
                    return
                body, begin = visual(photos[i % len(photos)]), time.time()
                ask(own, body)
                with lock:
                    times.append((begin, time.time()))

        threads = [threading.Thread(target=client) for _ in range(args.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.sort(key=lambda span: span[1])
        used = 1e3 * (cpu(process.pid) - used) / len(times)
        # From the end of the last one that warms up.
        spans, since = times[args.warm:], times[args.warm - 1][1]
        took = times[-1][1] - since
        latency = sorted(1e3 * (end - begin) for begin, end in spans)
        after_photos = memory(process.pid)
        # The first connection may have been silent for too long.
        connection, search = http.client.HTTPConnection("127.0.0.1", port, timeout=120), []
        for i in range(20):
            begin = time.time()
            ask(connection, textual(f"a photo of thing number {i}"))
            search.append(1e3 * (time.time() - begin))
        peak, own = memory(process.pid)
        print(f"{name:7} {1e3 * took / len(spans):6.1f} ms each, {used:6.1f} ms of CPU; p50 "
              f"{statistics.median(latency):6.0f}, p95 {latency[int(0.95 * len(latency))]:6.0f} ms; first {first:.2f} s; "
              f"text {statistics.median(search):5.1f} ms; peak {after_photos[0]:.0f} MB after photos, {peak:.0f} MB after texts, own {own:.0f} MB",
              flush=True)
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("ocelli", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--iters", type=int, default=20)
    parser.add_argument("--warm", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--decoded", action="store_true")
    parser.add_argument("--only", choices=["ocelli", "python"])
    parser.add_argument("--photos", type=Path, default=HERE.parents[2] / "examples")
    args = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(args.photos.glob("*.jpg"))]
    if args.decoded:
        photos = [decoded(photo) for photo in photos]
    threads, folder = str(args.threads), args.folder.resolve()
    serve = [args.ocelli.resolve(), "serve", "--listen", "127.0.0.1:3013", "--threads", threads,
             "--model", f"{MODEL}={folder / 'model.ocelli'}"]
    service = [sys.executable, "-m", "uvicorn", "service:app", "--port", "3014", "--app-dir", HERE]
    for _ in range(args.rounds):
        if args.decoded:
            profile(args)
        if args.only != "python":
            measure("ocelli", serve, {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}, 3013, args, photos)
        if args.only != "ocelli":
            environment = {"FOLDER": str(folder), "THREADS": threads, "OMP_NUM_THREADS": threads}
            measure("python", service, environment, 3014, args, photos)


if __name__ == "__main__":
    main()
