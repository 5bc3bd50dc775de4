//! What a search costs: scanning against reading the same bytes, recall, and the way from a closed index to the answer.
//!
//! `cargo bench -p ocelli-index --bench search [-- ROWS DIM FOLDER]`, by default 100,000 × 512 in the system's folder of
//! temporary files. The vectors are random, around one centre for every 100: neighbours are near each other, as photos are.

use ocelli_index::vectors::{Element, Rows, Writer, width};
use ocelli_index::{Identity, Query, SearchOptions, Store, search};
use ocelli_kernels::{Isa, Kernels};
use rusqlite::{Connection, params};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

const CHECKPOINT: [u8; 16] = [7; 16];
/// Rows of one centre.
const CLUSTER: u64 = 100;
const QUERIES: u64 = 20;
const ROUNDS: usize = 7;

/// splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Roughly normal, with variance 1/3.
fn noise(seed: u64, at: usize) -> f32 {
    let bits = mix(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ at as u64);
    let part = |shift: u32| (bits >> shift & 0xffff) as f32 / 32768.0 - 1.0;
    (part(0) + part(16) + part(32) + part(48)) / 2.0
}

fn vector(row: u64, dim: usize, out: &mut Vec<f32>) {
    out.clear();
    out.extend((0..dim).map(|at| noise(row / CLUSTER + (1 << 40), at) + 0.7 * noise(row, at)));
    ocelli::score::normalize(out);
}

/// Writes an index of `rows` pictures that were never seen.
fn make(folder: &Path, rows: u64, dim: usize) {
    let identity = Identity { checkpoint: CHECKPOINT, dim, model: None };
    drop(Store::write(folder, &identity).expect("an empty index"));
    let mut files = [Element::I8, Element::F16].map(|element| {
        let name = if element == Element::I8 { "vectors-0.i8" } else { "vectors-0.f16" };
        Writer::open(&folder.join(name), element, dim, CHECKPOINT).expect("opens").0
    });
    let mut catalog = Connection::open(folder.join("catalog.sqlite")).expect("opens");
    let mut x = Vec::new();
    for first in (0..rows).step_by(10_000) {
        let transaction = catalog.transaction().expect("begins");
        for row in first..(first + 10_000).min(rows) {
            vector(row, dim, &mut x);
            files.iter_mut().for_each(|file| file.push(&x, row));
            let hash = u128::from(row).to_be_bytes();
            let picture =
                "INSERT INTO pictures (hash, row, width, height, phash) VALUES (?, ?, 4000, 3000, 0)";
            let file = "INSERT INTO files (path, size, mtime, settled, picture) VALUES (?, 3000000, 1700000000000000000, 1, ?)";
            let run = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
                transaction
                    .prepare_cached(statement)
                    .and_then(|mut run| run.execute(values))
                    .expect("inserts")
            };
            run(picture, params![hash, row as i64]);
            let path = format!("/photos/{:04}/IMG_{row:07}.jpg", row / 1000);
            run(file, params![path.as_bytes(), row as i64 + 1]);
        }
        files.iter_mut().for_each(|file| file.write(first).expect("writes"));
        transaction.commit().expect("commits");
    }
}

/// The least time of `ROUNDS` calls, in milliseconds.
fn least<T>(mut work: impl FnMut() -> T) -> f64 {
    let once = |work: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..ROUNDS).map(|_| once(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Reads all bytes, as fast as plain loads go.
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for block in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number =
        |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().expect("a number"));
    let (rows, dim) = (number(0, 100_000), number(1, 512) as usize);
    let temporary = words.get(2).map_or_else(std::env::temp_dir, Into::into);
    let folder = temporary.join(format!("ocelli-search-bench-{rows}x{dim}"));
    if !folder.exists() {
        make(&folder, rows, dim);
    }
    let kernels = Kernels::new(Isa::detect());
    let queries: Vec<Query> = (0..QUERIES)
        .map(|i| {
            let mut x = Vec::new();
            vector(mix(i) % rows, dim, &mut x);
            let noisy = x.iter().enumerate().map(|(at, x)| x + 0.02 * noise(i + (1 << 50), at)).collect();
            Query::new(&[(1.0, noisy)]).expect("a direction")
        })
        .collect();

    let start = Instant::now();
    let store = Store::open(&folder).expect("opens");
    let hits = search::search(&store, &kernels, &queries[0], &SearchOptions::default()).expect("finds");
    let cold = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(hits.len(), 10);
    println!("{rows} rows of {dim}, {}", kernels.scan_name());
    println!("open, search, names of the best 10, first time in this process: {cold:.1} ms");

    let map: Rows = store.map(Element::I8).expect("maps");
    let bytes = map.bytes();
    let mut sums = vec![0i32; map.len()];
    let query: Vec<i8> = (0..width(dim)).map(|at| (noise(9, at) * 60.0) as i8).collect();
    let reading = least(|| read(bytes));
    let kernel = least(|| {
        for (first, sums) in sums.chunks_mut(128).enumerate() {
            let rows = bytemuck::cast_slice(&bytes[first * 128 * map.stride()..]);
            kernels.scan_i8(rows, map.stride(), width(dim), &query, sums);
        }
    });
    let gb = bytes.len() as f64 / 1e9;
    println!(
        "one thread, {gb:.3} GB: reading {reading:.2} ms ({:.1} GB/s), scanning {kernel:.2} ms",
        gb / reading * 1e3
    );
    println!("scanning / reading: {:.2}", kernel / reading);
    for threads in [1, 2, 4] {
        let mut i = 0;
        let time = least(|| {
            i += 1;
            search::nearest(&map, &kernels, queries[i % queries.len()].vector(), 104, threads)
        });
        println!(
            "the best 104 rows, {threads} threads: {time:.2} ms ({:.2} of reading on one)",
            time / reading
        );
    }
    let time = least(|| search::search(&store, &kernels, &queries[1], &SearchOptions::default()));
    println!("a search, index open: {time:.2} ms");

    let mut exact: Vec<Vec<(f32, u64)>> = vec![Vec::new(); queries.len()];
    let mut x = Vec::new();
    for row in 0..rows {
        vector(row, dim, &mut x);
        for (best, query) in exact.iter_mut().zip(&queries) {
            let cosine = ocelli::score::dot(&x, query.vector());
            if best.len() < 10 || cosine > best[9].0 {
                best.push((cosine, row));
                best.sort_by(|a, b| b.0.total_cmp(&a.0));
                best.truncate(10);
            }
        }
    }
    let mut found = [0; 2];
    for (query, exact) in queries.iter().zip(&exact) {
        let is_exact = |row: u64| exact.iter().any(|(_, other)| *other == row);
        let hits = search::search(&store, &kernels, query, &SearchOptions::default()).expect("finds");
        found[0] += hits.iter().filter(|hit| is_exact(hit.picture.row)).count();
        let codes = search::nearest(&map, &kernels, query.vector(), 10, 1);
        found[1] += codes.iter().filter(|(row, _)| is_exact(*row as u64)).count();
    }
    let recall = found.map(|found| found as f64 / (10 * queries.len()) as f64);
    println!("recall@10 against f32: {:.3}, by codes alone {:.3}", recall[0], recall[1]);
}
