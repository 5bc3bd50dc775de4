//! What Linux tells of a CPU: which core it is, and how fast compared with the others.
//!
//! The core decides where threads run, and hardly which kernels: those follow from the CPU's features, and where all cores are
//! Cortex-A55, one multiplies with its loads in another order, with the same bits. All cores of a big.LITTLE board have the
//! same features, so its threads share one packing of the activations and give the same bits wherever they run, and the tiles
//! keep the multipliers of an A53 as busy as those of an A76.

use core::fmt;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

/// A core's design: implementer and part number of MIDR_EL1 (Arm Architecture Reference Manual), as Linux's
/// `arch/arm64/include/asm/cputype.h` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Core {
    implementer: u32,
    part: u32,
}

const ARM: u32 = 0x41;
const QUALCOMM: u32 = 0x51;

/// Cores that boards combine, slowest first. The first eight work in order: the little ones.
const CORES: [(u32, u32, &str); 34] = [
    (ARM, 0xd04, "Cortex-A35"),
    (ARM, 0xd03, "Cortex-A53"),
    (QUALCOMM, 0x801, "Kryo 2xx Silver"),
    (ARM, 0xd05, "Cortex-A55"),
    (QUALCOMM, 0x803, "Kryo 3xx Silver"),
    (QUALCOMM, 0x805, "Kryo 4xx Silver"),
    (ARM, 0xd46, "Cortex-A510"),
    (ARM, 0xd80, "Cortex-A520"),
    (ARM, 0xd07, "Cortex-A57"),
    (ARM, 0xd08, "Cortex-A72"),
    (ARM, 0xd09, "Cortex-A73"),
    (QUALCOMM, 0x800, "Kryo 2xx Gold"),
    (ARM, 0xd0a, "Cortex-A75"),
    (QUALCOMM, 0x802, "Kryo 3xx Gold"),
    (ARM, 0xd0b, "Cortex-A76"),
    (QUALCOMM, 0x804, "Kryo 4xx Gold"),
    (ARM, 0xd0c, "Neoverse-N1"),
    (ARM, 0xd0d, "Cortex-A77"),
    (ARM, 0xd41, "Cortex-A78"),
    (ARM, 0xd42, "Cortex-A78AE"),
    (ARM, 0xd4b, "Cortex-A78C"),
    (ARM, 0xd47, "Cortex-A710"),
    (ARM, 0xd49, "Neoverse-N2"),
    (ARM, 0xd4d, "Cortex-A715"),
    (ARM, 0xd81, "Cortex-A720"),
    (ARM, 0xd87, "Cortex-A725"),
    (ARM, 0xd40, "Neoverse-V1"),
    (ARM, 0xd44, "Cortex-X1"),
    (ARM, 0xd4c, "Cortex-X1C"),
    (ARM, 0xd48, "Cortex-X2"),
    (ARM, 0xd4e, "Cortex-X3"),
    (ARM, 0xd4f, "Neoverse-V2"),
    (ARM, 0xd82, "Cortex-X4"),
    (ARM, 0xd85, "Cortex-X925"),
];

impl Core {
    /// Its place in [`CORES`]; after all of them for a core that is newer than the list.
    fn rank(self) -> usize {
        let is_self = |&(implementer, part, _): &_| Core { implementer, part } == self;
        CORES.iter().position(is_self).unwrap_or(CORES.len())
    }
}

impl Core {
    /// Kryo 3xx and 4xx Silver were made from it.
    fn is_a55(self) -> bool {
        let Core { implementer, part } = self;
        [(ARM, 0xd05), (QUALCOMM, 0x803), (QUALCOMM, 0x805)].contains(&(implementer, part))
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CORES.get(self.rank()) {
            Some((_, _, name)) => f.write_str(name),
            None => write!(f, "Arm core {:#04x}/{:#05x}", self.implementer, self.part),
        }
    }
}

/// How fast a CPU is compared with others of the same machine. Capacity as the kernel tells it, else the same for all;
/// then the core, since an A53 at 1.9 GHz is slower than an A73 at 1.8 (Amlogic S922X); then the highest clock in kHz.
///
/// Where the system names no Arm core, only capacity counts: highest clocks of an x86-64 CPU differ between threads of
/// one core and their neighbours, which the scheduler knows more about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Speed {
    capacity: u32,
    rank: usize,
    khz: u32,
}

/// A CPU of this machine.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// Its number.
    pub number: usize,
    /// The name of its core, where the system tells.
    pub name: Option<String>,
    pub(super) speed: Speed,
    /// Whether it is a Cortex-A55, or a core made from it.
    pub(super) is_a55: bool,
}

/// What the system under `root` (`/` but in tests) tells of the CPUs `numbers`.
pub(super) fn read(root: &Path, numbers: &[usize]) -> Vec<Cpu> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
    let read = |&number: &usize| {
        let of_cpu = |name: &str| text(&std::format!("sys/devices/system/cpu/cpu{number}/{name}"));
        let decimal = |name| of_cpu(name).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let core = of_cpu("regs/identification/midr_el1")
            .and_then(|midr| hex(&midr))
            .map(|midr| Core { implementer: midr >> 24 & 0xff, part: midr >> 4 & 0xfff })
            .or_else(|| {
                let number = |name| field(&cpuinfo, number, name).and_then(hex);
                Some(Core { implementer: number("CPU implementer")?, part: number("CPU part")? })
            });
        let name = match core {
            Some(core) => Some(std::format!("{core}")),
            None => field(&cpuinfo, number, "model name").map(String::from),
        };
        let capacity = decimal("cpu_capacity");
        let speed = match core {
            Some(core) => Speed { capacity, rank: core.rank(), khz: decimal("cpufreq/cpuinfo_max_freq") },
            None => Speed { capacity, ..Speed::default() },
        };
        Cpu { number, name, speed, is_a55: core.is_some_and(Core::is_a55) }
    };
    numbers.iter().map(read).collect()
}

fn hex(text: &str) -> Option<u32> {
    let value = u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()?;
    u32::try_from(value).ok()
}

/// Field `name` of CPU `number` in the text of `/proc/cpuinfo`.
fn field<'t>(cpuinfo: &'t str, number: usize, name: &str) -> Option<&'t str> {
    let pair = |line: &'t str| line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    let mut pairs = cpuinfo.lines().filter_map(pair);
    pairs.find(|&(name, value)| name == "processor" && value.parse() == Ok(number))?;
    let mut of_cpu = pairs.take_while(|&(name, _)| name != "processor");
    of_cpu.find(|&(key, _)| key == name).map(|(_, value)| value)
}

/// `cpus` by name, the fastest first: "4 x Cortex-A76, 4 x Cortex-A55". Empty where the system names none.
pub fn describe(cpus: &[Cpu]) -> String {
    let mut sorted: Vec<&Cpu> = cpus.iter().collect();
    sorted.sort_by_key(|cpu| core::cmp::Reverse(cpu.speed));
    let kinds: Vec<String> = sorted
        .chunk_by(|a, b| a.name == b.name)
        .filter_map(|kind| Some(std::format!("{} x {}", kind.len(), kind[0].name.as_ref()?)))
        .collect();
    kinds.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// The system of a machine: writes files under a folder.
    pub(in crate::runtime) struct Machine(TempDir);

    impl Machine {
        pub(in crate::runtime) fn new() -> Machine {
            Machine(tempfile::tempdir().unwrap())
        }

        pub(in crate::runtime) fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A file of CPU `cpu`.
        pub(in crate::runtime) fn of_cpu(&self, cpu: usize, path: &str, text: &str) {
            self.file(&std::format!("sys/devices/system/cpu/cpu{cpu}/{path}"), text);
        }

        /// The MIDR of `cpu`: revision 1 of variant 4 of a design.
        pub(in crate::runtime) fn midr(&self, cpu: usize, implementer: u32, part: u32) {
            let midr = implementer << 24 | 4 << 20 | 0xf << 16 | part << 4 | 1;
            self.of_cpu(cpu, "regs/identification/midr_el1", &std::format!("0x{midr:016x}\n"));
        }

        pub(in crate::runtime) fn read(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Cpu> {
            read(self.0.path(), &numbers.into_iter().collect::<Vec<_>>())
        }
    }

    fn names(cpus: &[Cpu]) -> Vec<&str> {
        cpus.iter().map(|cpu| cpu.name.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn cores_are_named_by_register_or_cpuinfo() {
        let machine = Machine::new();
        // A Raspberry Pi 4 tells both; the register comes first.
        machine.midr(0, 0x41, 0xd08);
        machine.file(
            "proc/cpuinfo",
            "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\n\
             processor\t: 1\nFeatures\t: fp asimd\nCPU implementer\t: 0x51\nCPU variant\t: 0xd\nCPU part\t: 0x805\n\n\
             processor\t: 2\nCPU implementer\t: 0x61\nCPU part\t: 0x022\n\n\
             processor\t: 10\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi\n",
        );
        let cpus = machine.read([0, 1, 2, 10, 11]);
        assert_eq!(names(&cpus), ["Cortex-A72", "Kryo 4xx Silver", "Arm core 0x61/0x022", "-", "-"]);
        assert_eq!(describe(&cpus), "1 x Arm core 0x61/0x022, 1 x Cortex-A72, 1 x Kryo 4xx Silver");
    }

    #[test]
    fn an_x86_machine_is_named_and_its_clocks_are_ignored() {
        let machine = Machine::new();
        machine.file(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: AMD Ryzen: 9\nprocessor\t: 1\nmodel name\t: AMD Ryzen: 9\n",
        );
        machine.of_cpu(0, "cpufreq/cpuinfo_max_freq", "5100000\n");
        machine.of_cpu(1, "cpufreq/cpuinfo_max_freq", "5000000\n");
        let cpus = machine.read(0..2);
        assert_eq!(describe(&cpus), "2 x AMD Ryzen: 9");
        assert_eq!(cpus[0].speed, cpus[1].speed);
    }

    #[test]
    fn no_part_is_listed_twice() {
        for (i, &(implementer, part, name)) in CORES.iter().enumerate() {
            assert_eq!(Core { implementer, part }.rank(), i, "{name}");
        }
    }
}
