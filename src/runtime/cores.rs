//! Which CPUs the threads of a team run on, and how many there are.
//!
//! Where some CPUs are faster than others (big.LITTLE: RK3588), each worker is bound to one of its own, the fastest
//! first, other than the one that the caller runs on, so that a thread's speed stays what its share of the work follows
//! from. Elsewhere the scheduler knows better, since it sees what else runs. The caller's own thread is left alone.

use super::cpu::{self, Cpu};
use core::cmp::Reverse;
use std::path::Path;
use std::vec::Vec;

/// Binds the calling thread to `cpu`. Only a hint: where the system refuses, the thread runs where it may.
#[cfg(target_os = "linux")]
pub(super) fn bind(cpu: usize) {
    // SAFETY: a set is plain bits, all zero an empty one; `CPU_SET` checks nothing, but `cpu` came out of a set of this
    // size; the call reads the set and changes only where this thread runs.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let _ = libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Where this thread may run, and where it does; nothing where the system does not tell.
#[cfg(target_os = "linux")]
fn affinity() -> (Vec<usize>, Option<usize>) {
    // SAFETY: as in `bind`; the call fills in the set of the CPUs that this thread may use.
    let (set, current) = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return (Vec::new(), None);
        }
        (set, libc::sched_getcpu())
    };
    // SAFETY: below the size of a set.
    let allowed = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) });
    (allowed.collect(), usize::try_from(current).ok())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bind(_cpu: usize) {}

#[cfg(not(target_os = "linux"))]
fn affinity() -> (Vec<usize>, Option<usize>) {
    (Vec::new(), None)
}

/// The CPUs that the calling thread may run on; empty where the system does not tell.
pub fn cpus() -> Vec<Cpu> {
    cpu::read(Path::new("/"), &affinity().0)
}

/// Whether all CPUs that the calling thread may run on are Cortex-A55, as far as the system tells.
pub fn all_cortex_a55() -> bool {
    cfg!(target_arch = "aarch64") && all_a55(&cpus())
}

fn all_a55(cpus: &[Cpu]) -> bool {
    !cpus.is_empty() && cpus.iter().all(|cpu| cpu.is_a55)
}

/// One thread for each CPU that this process may use (cpuset, cgroup), little ones too: each does what it can.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// A CPU for each of `workers`; empty where the system does not tell, or [`choose`] finds none.
pub(super) fn for_workers(workers: usize) -> Vec<usize> {
    let (allowed, current) = affinity();
    choose(cpu::read(Path::new("/"), &allowed), current, workers)
}

/// The fastest `workers` of `cpus` without `current`; none where there are not enough, or all are equally fast.
fn choose(mut cpus: Vec<Cpu>, current: Option<usize>, workers: usize) -> Vec<usize> {
    let equal = cpus.windows(2).all(|pair| pair[0].speed == pair[1].speed);
    cpus.retain(|cpu| Some(cpu.number) != current);
    if equal || cpus.len() < workers {
        return Vec::new();
    }
    cpus.sort_by_key(|cpu| Reverse(cpu.speed));
    cpus.into_iter().take(workers).map(|cpu| cpu.number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cpu::describe;
    use super::super::cpu::tests::Machine;
    use super::*;

    /// Four A55 and four A76, with the capacities and clocks that the kernel tells if `capacity`, or `clock`.
    fn rk3588(capacity: bool, clock: bool) -> Machine {
        let machine = Machine::new();
        for cpu in 0..8 {
            let (part, speed, khz) =
                if cpu < 4 { (0xd05, "398\n", "1800000\n") } else { (0xd0b, "1024\n", "2400000\n") };
            machine.midr(cpu, 0x41, part);
            if capacity {
                machine.of_cpu(cpu, "cpu_capacity", speed);
            }
            if clock {
                machine.of_cpu(cpu, "cpufreq/cpuinfo_max_freq", khz);
            }
        }
        machine
    }

    #[test]
    fn rk3588_runs_on_its_big_cores_first_whatever_the_kernel_tells() {
        for (capacity, clock) in [(true, true), (true, false), (false, true), (false, false)] {
            let cpus = rk3588(capacity, clock).read(0..8);
            assert_eq!(describe(&cpus), "4 x Cortex-A76, 4 x Cortex-A55");
            assert_eq!(choose(cpus.clone(), Some(4), 3), [5, 6, 7]);
            assert_eq!(choose(cpus.clone(), Some(0), 5), [4, 5, 6, 7, 1]);
            assert_eq!(choose(cpus.clone(), None, 8), [4, 5, 6, 7, 0, 1, 2, 3]);
            assert!(choose(cpus, Some(0), 8).is_empty(), "one CPU too few");
        }
    }

    #[test]
    fn only_where_all_cores_are_cortex_a55_they_choose_kernels() {
        let machine = rk3588(true, true);
        assert!(
            all_a55(&machine.read(0..4)) && !all_a55(&machine.read(0..8)) && !all_a55(&machine.read(4..8))
        );
        assert!(!all_a55(&[]) && !all_a55(&Machine::new().read(0..2)));
    }

    #[test]
    fn a_cpuset_is_kept_to() {
        let machine = rk3588(true, true);
        let mixed = machine.read([1, 3, 6]);
        assert_eq!(choose(mixed, Some(3), 2), [6, 1]);
        let big = machine.read(4..8);
        assert!(choose(big, Some(4), 2).is_empty());
        let little = machine.read(0..4);
        assert!(choose(little, Some(0), 3).is_empty());
    }

    #[test]
    fn a_raspberry_pi_5_binds_nothing() {
        let machine = Machine::new();
        for cpu in 0..4 {
            machine.midr(cpu, 0x41, 0xd0b);
            machine.of_cpu(cpu, "cpu_capacity", "1024\n");
            machine.of_cpu(cpu, "cpufreq/cpuinfo_max_freq", "2400000\n");
        }
        let cpus = machine.read(0..4);
        assert_eq!(describe(&cpus), "4 x Cortex-A76");
        assert!(choose(cpus, Some(0), 3).is_empty());
    }

    #[test]
    fn three_clusters_come_in_the_order_of_core_then_clock() {
        // Snapdragon 888 numbers its fastest core last; the kernel tells capacity 1024 of all.
        let machine = Machine::new();
        for (cpu, part) in [0xd05, 0xd05, 0xd05, 0xd05, 0xd41, 0xd41, 0xd41, 0xd44].into_iter().enumerate() {
            machine.midr(cpu, 0x41, part);
            machine.of_cpu(cpu, "cpu_capacity", "1024\n");
        }
        let cpus = machine.read(0..8);
        assert_eq!(describe(&cpus), "1 x Cortex-X1, 3 x Cortex-A78, 4 x Cortex-A55");
        assert_eq!(choose(cpus, Some(2), 4), [7, 4, 5, 6]);
        // Snapdragon 855: one of its four A76 has a higher clock, and its little cores tell only cpuinfo.
        let machine = Machine::new();
        let cpuinfo: Vec<_> = (0..8)
            .map(|cpu| {
                let part = if cpu < 4 { 0x805 } else { 0x804 };
                let khz = [1_785_600, 2_419_200, 2_841_600][usize::from(cpu > 3) + usize::from(cpu == 7)];
                machine.of_cpu(cpu, "cpufreq/cpuinfo_max_freq", &std::format!("{khz}\n"));
                std::format!("processor\t: {cpu}\nCPU implementer\t: 0x51\nCPU part\t: {part:#x}\n")
            })
            .collect();
        machine.file("proc/cpuinfo", &cpuinfo.join("\n"));
        assert_eq!(choose(machine.read(0..8), Some(0), 4), [7, 4, 5, 6]);
    }

    #[test]
    fn a_fast_clock_makes_no_little_core_big() {
        // Amlogic S922X (ODROID-N2): two A53 at 1.9 GHz, four A73 at 1.8 GHz.
        let machine = Machine::new();
        for cpu in 0..6 {
            let (part, khz) = if cpu < 2 { (0xd03, "1896000\n") } else { (0xd09, "1800000\n") };
            machine.midr(cpu, 0x41, part);
            machine.of_cpu(cpu, "cpufreq/cpuinfo_max_freq", khz);
        }
        assert_eq!(choose(machine.read(0..6), Some(2), 3), [3, 4, 5]);
    }

    #[test]
    fn a_silent_system_binds_nothing() {
        let cpus = Machine::new().read(0..4);
        assert_eq!(describe(&cpus), "");
        assert!(choose(cpus, Some(0), 3).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_bound_thread_may_run_nowhere_else() {
        std::thread::spawn(|| {
            let allowed: Vec<_> = cpus().iter().map(|cpu| cpu.number).collect();
            let last = *allowed.last().expect("this thread runs somewhere");
            bind(last);
            assert_eq!(affinity(), ([last].to_vec(), Some(last)));
            assert_eq!(default_threads(), 1);
        })
        .join()
        .unwrap();
    }
}
