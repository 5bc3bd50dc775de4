#!/usr/bin/env bash
# The thread team and the encoders under ThreadSanitizer, which reports every unordered access to shared memory.
# Needs a nightly compiler with its sources (rustup component add rust-src --toolchain nightly): the standard library is
# built anew, because code that is not instrumented hides its synchronisation. Without them this is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library
[ -d "$sources" ] || { echo "no nightly compiler with rust-src: ThreadSanitizer was left out"; exit 0; }
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=thread" TSAN_OPTIONS="halt_on_error=1"
sanitized() {
    cargo +nightly test -Zbuild-std --target "$target" --target-dir target/tsan --locked "$@"
}
# The team's own tests; then whole models on up to eight threads, whose work is handed over many times.
sanitized -p ocelli --lib team
sanitized -p ocelli-tests --test soak -- --nocapture
