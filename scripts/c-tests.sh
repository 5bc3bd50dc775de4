#!/bin/bash
# The C interface as C and C++ programs use it: installed into a folder, examples and tests compiled with gcc and clang
# (what is missing is skipped) with warnings as errors, under ASan and UBSan, and run; the embeddings compared with those of
# the program `ocelli`, bit by bit; allocations counted through the shared library.
#
#   scripts/c-tests.sh
#
# PROFILE=release tests that build. Needs a C and a C++ compiler and pkg-config.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

profile=${PROFILE:-dev}
built=target/$([ "$profile" = dev ] && echo debug || echo "$profile")
# The whole workspace's features: with the tests everything is compiled already.
cargo build --workspace --lib --bin ocelli --locked --profile "$profile"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TARGET_DIR=$root/$built bindings/c/install.sh "$work/usr"
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig LD_LIBRARY_PATH=$work/usr/lib
read -ra flags < <(pkg-config --cflags --libs ocelli)
[ "$(pkg-config --modversion ocelli)" = "$("$built/ocelli" --version | cut -d' ' -f2)" ]
readelf -d "$work/usr/lib/libocelli.so" | grep -q 'SONAME.*\[libocelli\.so\.1\]'
# Nothing but the interface goes out under a name of its own.
nm -D --defined-only "$work/usr/lib/libocelli.so" | awk '{print $3}' | grep -v '^ocelli_' && exit 1

model=$root/tests/fixtures/cifar10/cifar10.ocelli
photos=("$root"/examples/{ship,cat,frog}.jpg)
"$built/ocelli" embed --model "$model" --quiet -o "$work/right.npy" --image "${photos[@]}" --text "a photo of a ship"
"$built/ocelli" classify --model "$model" --quiet --json "${photos[0]}" >"$work/right.json"
# A camera: 12 frames of 64x48 in YUV 4:2:0.
head -c $((12 * 64 * 48 * 3 / 2)) "$model" >"$work/frames"

cd bindings/c
tested=0
for compiler in gcc clang; do
    command -v $compiler >/dev/null || { echo "no $compiler: skipped"; continue; }
    cpp=${compiler/gcc/g}++
    strict=(-O1 -g -Wall -Wextra -Wpedantic -Werror -fsanitize=address,undefined -fno-sanitize-recover=all)
    out=$work/$compiler
    mkdir "$out"
    for program in examples/classify examples/camera tests/misuse; do
        $compiler -std=c11 "${strict[@]}" $program.c "${flags[@]}" -o "$out/${program##*/}"
    done
    $cpp -std=c++17 "${strict[@]}" examples/embed.cpp "${flags[@]}" -o "$out/embed"
    $compiler -std=c11 -O1 -Wall -Wextra -Werror tests/zero_alloc.c "${flags[@]}" -o "$out/zero_alloc"
    # Without the sanitizers once more, linked statically with the library.
    $compiler -std=c11 examples/classify.c "-I$work/usr/include" "$work/usr/lib/libocelli.a" -lpthread -ldl -lm \
        -o "$out/static"

    "$out/misuse" "$model"
    "$out/zero_alloc" "$model"
    "$out/embed" "$model" "$out/embeddings" "a photo of a ship" "${photos[@]}"
    # A .npy file is a header and the same floats.
    tail -c "$(stat -c %s "$out/embeddings")" "$work/right.npy" | cmp - "$out/embeddings"
    "$out/classify" "$model" "${photos[0]}" | tee "$out/text" | head -n 1 | grep -q 'ship$'
    "$out/static" "$model" "${photos[0]}" | cmp - "$out/text"
    best=$(head -n 1 "$out/text" | awk '{print $1}')
    grep -q "\"score\":0.${best%%.*}" "$work/right.json" || { echo "$best %"; cat "$work/right.json"; exit 1; }
    "$out/classify" "$model" "${photos[1]}" cat dog ship | head -n 1 | grep -q 'cat$'
    ! "$out/classify" "$model" README.md 2>"$out/error" && grep -q 'README.md' "$out/error"
    "$out/camera" "$model" - 64 48 <"$work/frames" >"$out/lines"
    [ "$(wc -l <"$out/lines")" = 12 ]
    echo "$compiler: passed"
    tested=$((tested + 1))
done
[ $tested -gt 0 ] || { echo "no C compiler" >&2; exit 1; }
