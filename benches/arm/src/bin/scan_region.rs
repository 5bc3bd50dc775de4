//! A scan of int8 rows between the markers.
//!
//! ```text
//! scan_region ISA ROWS K QUERIES        such as scan_region dotprod 1000 512 1
//! ```

use ocelli_arm_count::{start, stop};
use ocelli_kernels::{Isa, Kernels};

const USAGE: &str = "usage: scan_region ISA ROWS K QUERIES, such as scan_region neon 1000 512 1";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [isa, rows, k, queries] = &args[..] else { panic!("{USAGE}") };
    let [rows, k, queries] = [rows, k, queries].map(|size| size.parse::<usize>().expect(USAGE));
    let kernels = Kernels::new(Isa::select(isa).unwrap_or_else(|error| panic!("{error}")));
    // As in an index: a scale and a checksum behind the codes.
    let stride = k + 8;
    let codes: Vec<i8> = (0..rows * stride).map(|i| ((i * 37 % 255) as i32 - 127) as i8).collect();
    let query: Vec<i8> = (0..queries * k).map(|i| ((i * 91 % 255) as i32 - 127) as i8).collect();
    let mut sums = vec![0; rows * queries];

    start();
    kernels.scan_i8(&codes, stride, k, &query, &mut sums);
    stop();

    let checksum: i64 = sums.iter().map(|&sum| i64::from(sum)).sum();
    println!("{} {rows}x{k}, {queries} queries: {checksum}", kernels.scan_name());
}
