//! Which CPUs the workers of a team run on.
//!
//! Where some CPUs are faster than others (big.LITTLE: RK3588), each worker is bound to one of its own, the fastest
//! first, other than the one that the caller runs on: an operation takes as long as its slowest thread. Elsewhere the
//! scheduler knows better, since it sees what else runs. The caller's own thread is left alone.

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

/// A CPU for each of `workers`, none of them twice, or nothing where there are not enough, all are equal, or the
/// system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn for_workers(workers: usize) -> std::vec::Vec<usize> {
    // SAFETY: as in `bind`; the call fills in the set of the CPUs that this thread may use.
    let (set, current) = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return std::vec::Vec::new();
        }
        (set, libc::sched_getcpu())
    };
    // SAFETY: below the size of a set.
    let allowed = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) });
    let mut cpus: std::vec::Vec<usize> = allowed.filter(|&cpu| i32::try_from(cpu) != Ok(current)).collect();
    cpus.sort_by_key(|&cpu| core::cmp::Reverse(capacity(cpu)));
    let equal = cpus.iter().all(|&cpu| capacity(cpu) == capacity(cpus[0]));
    cpus.truncate(workers);
    if equal || cpus.len() < workers { std::vec::Vec::new() } else { cpus }
}

/// The relative speed of a CPU, as the kernel of a machine with big and little cores tells it; 0 elsewhere.
#[cfg(target_os = "linux")]
fn capacity(cpu: usize) -> u32 {
    let path = std::format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bind(_cpu: usize) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn for_workers(_workers: usize) -> std::vec::Vec<usize> {
    std::vec::Vec::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn workers_get_different_cpus_or_none() {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        for workers in 0..=all {
            let cpus = for_workers(workers);
            assert!(cpus.is_empty() || cpus.len() == workers);
            let different: std::collections::BTreeSet<_> = cpus.iter().collect();
            assert_eq!(different.len(), cpus.len());
        }
        assert!(for_workers(1 << 20).is_empty());
    }

    #[test]
    fn a_bound_thread_runs_there() {
        let Some(&cpu) = for_workers(1).first() else { return };
        std::thread::spawn(move || {
            bind(cpu);
            assert!(for_workers(2).is_empty(), "one CPU is left");
        })
        .join()
        .unwrap();
    }
}
