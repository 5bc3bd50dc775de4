//! The names of micro-kernels follow the grammar in the crate's documentation.

use crate::pack::MR;
use crate::table::RunI8;
use crate::testing::each_isa;

const ISAS: [&str; 10] =
    ["scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm", "fp16"];

/// MR, NR and KR of a name.
fn parse(name: &str) -> Option<(usize, usize, Option<usize>)> {
    let mut words = name.split('_');
    let element = words.next().filter(|word| ["i8", "f16", "f32"].contains(word))?;
    words.next().filter(|&word| word == "gemm")?;
    let (mr, rest) = words.next()?.split_once('x')?;
    let (nr, kr) = rest.split_once('c').map_or((rest, None), |(nr, kr)| (nr, Some(kr)));
    let kr = match (element, kr) {
        ("i8", Some(kr)) => Some(kr.parse().ok()?),
        ("f16" | "f32", None) => None,
        _ => return None,
    };
    words.next().filter(|word| ISAS.contains(word))?;
    let end = words.next().is_none_or(|instruction| !instruction.is_empty()) && words.next().is_none();
    Some((mr.parse().ok()?, nr.parse().ok()?, kr)).filter(|_| end)
}

#[test]
fn names_follow_the_grammar_and_tell_the_truth() {
    for kernels in each_isa() {
        let table = &kernels.table;
        let int8 = &table.gemm_i8;
        let rows = match int8.run {
            RunI8::Tile(_) => MR,
            RunI8::Tiles2x2(..) => 2 * MR,
            RunI8::Rows(_) => 32,
        };
        let right = (rows, int8.panels() * 16, Some(int8.lhs.group()));
        assert_eq!(parse(int8.name), Some(right), "{}", int8.name);
        let floats = [(table.gemm_f32.name, table.gemm_f32.mr, table.gemm_f32.panels())];
        let halves = table.gemm_f16.as_ref().map(|kernel| (kernel.name, kernel.mr, kernel.panels()));
        for (name, mr, panels) in floats.into_iter().chain(halves) {
            assert_eq!(parse(name), Some((mr, panels * 16, None)), "{name}");
        }
        let isa = kernels.scan_name().strip_prefix("i8_scan_4x2_");
        assert!(isa.is_some_and(|isa| ISAS.contains(&isa)), "{}", kernels.scan_name());
    }
    for wrong in [
        "i8_gemm_6x16_neon",
        "f32_gemm_6x16c4_neon",
        "f32_gemm_6x16",
        "f32_gemm_6_neon",
        "f32_gemm_6x16_neon_a_b",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}
