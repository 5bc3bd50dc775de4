#!/bin/sh
# Measures ocelli next to its peers:
# `benches/peers/run.sh [--as-avx2 | --without-amx] [--rounds N] [--iters N] [--threads N...] [--only NAME...]`.
#
# Needs Linux, cargo and Python 3.11 or newer, the network for the first run, and about 10 GB under target/peers (most of
# it is PyTorch). Results: standard output, target/peers/result.json and target/peers/result.md.
set -eu
cd "$(dirname "$0")/../.."
for tool in python3 cargo git; do
    command -v "$tool" >/dev/null || { echo "run.sh: $tool is needed and not installed" >&2; exit 1; }
done
python3 -c "import sys; sys.exit(sys.version_info < (3, 11))" || {
    echo "run.sh: Python 3.11 or newer is needed" >&2
    exit 1
}

venv=target/peers/venv
if ! cmp -s benches/peers/requirements.txt "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r benches/peers/requirements.txt
    cp benches/peers/requirements.txt "$venv/installed.txt"
fi
cargo build --release --locked -p ocelli-cli -p ocelli-tools
cargo build --release --locked --manifest-path benches/peers/rten/Cargo.toml --target-dir target/peers/rten

case " $* " in
    *" --as-avx2 "*) export PEERS_HIDE=all ;;
    *" --without-amx "*) export PEERS_HIDE=amx ;;
    *) unset PEERS_HIDE ;;
esac
if [ -n "${PEERS_HIDE:-}" ]; then
    cc -O2 -shared -fPIC -o target/peers/mask_cpuid.so benches/peers/mask_cpuid.c
    export PEERS_PRELOAD="$PWD/target/peers/mask_cpuid.so"
fi

release=${CARGO_TARGET_DIR:-target}/release
PEERS_OCELLI=$release/ocelli PEERS_PACK=$release/ocelli-pack PEERS_RTEN=target/peers/rten/release/rten-runner \
    exec "$venv/bin/python" benches/peers/peers.py "$@"
