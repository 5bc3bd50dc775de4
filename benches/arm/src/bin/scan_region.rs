//! One exact scan on one thread, as a search does it, between the markers.
//!
//! ```text
//! scan_region ISA ROWS CODES QUERIES        such as scan_region dotprod 1024 512 1
//! ```

use ocelli_arm_count::{start, stop};
use ocelli_kernels::{Isa, Kernels};

const USAGE: &str = "usage: scan_region ISA ROWS CODES QUERIES; such as dotprod 1024 512 1";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [isa, sizes @ ..] = &args[..] else { panic!("{USAGE}") };
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse().expect(USAGE)).collect();
    let [rows, codes, queries] = sizes[..] else { panic!("{USAGE}") };
    let kernels = Kernels::new(Isa::select(isa).unwrap_or_else(|error| panic!("{error}")));

    let code = |i: usize| ((i * 37 % 255) as i32 - 127) as i8;
    // As rows lie in an index: a scale and a checksum behind each.
    let stride = codes + 8;
    let matrix: Vec<i8> = (0..rows * stride).map(code).collect();
    let asked: Vec<i8> = (0..queries * codes).map(|i| code(i + 11)).collect();
    let mut sums = vec![0; queries * rows];

    start();
    kernels.scan_i8(&matrix, stride, codes, &asked, &mut sums);
    stop();

    let checksum: i64 = sums.iter().map(|&sum| i64::from(sum)).sum();
    println!("{} {queries} x {rows}x{codes}: {checksum}", kernels.scan_name());
}
