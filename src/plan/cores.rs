//! Which CPUs the workers of a team run on.
//!
//! Where some CPUs are faster than others (big.LITTLE: RK3588), each worker is bound to one of its own, the fastest
//! first, other than the one that the caller runs on: an operation takes as long as its slowest thread. Elsewhere the
//! scheduler knows better, since it sees what else runs. The caller's own thread is left alone.

#[cfg(target_os = "linux")]
use core::cmp::Reverse;
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

/// A CPU for each of `workers`; empty where the system does not tell, or [`choose`] finds none.
#[cfg(target_os = "linux")]
pub(super) fn for_workers(workers: usize) -> Vec<usize> {
    // SAFETY: as in `bind`; the call fills in the set of the CPUs that this thread may use.
    let (set, current) = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Vec::new();
        }
        (set, libc::sched_getcpu())
    };
    // SAFETY: below the size of a set.
    let allowed = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) });
    choose(allowed.map(|cpu| (cpu, capacity(cpu))).collect(), usize::try_from(current).ok(), workers)
}

/// The fastest `workers` of `cpus`, (number, capacity), without `current`; none where there are not enough, or all are
/// equally fast.
#[cfg(target_os = "linux")]
fn choose(mut cpus: Vec<(usize, u32)>, current: Option<usize>, workers: usize) -> Vec<usize> {
    let equal = cpus.windows(2).all(|pair| pair[0].1 == pair[1].1);
    cpus.retain(|&(cpu, _)| Some(cpu) != current);
    if equal || cpus.len() < workers {
        return Vec::new();
    }
    cpus.sort_by_key(|&(_, capacity)| Reverse(capacity));
    cpus.into_iter().take(workers).map(|(cpu, _)| cpu).collect()
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
pub(super) fn for_workers(_workers: usize) -> Vec<usize> {
    Vec::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn the_fastest_cpus_are_chosen_once_each_and_not_the_callers() {
        // RK3588: four little cores, then four big ones.
        let board: Vec<_> = (0..8).map(|cpu| (cpu, if cpu < 4 { 530 } else { 1024 })).collect();
        assert_eq!(choose(board.clone(), Some(4), 3), [5, 6, 7]);
        assert_eq!(choose(board.clone(), Some(0), 5), [4, 5, 6, 7, 1]);
        assert_eq!(choose(board.clone(), None, 8), [4, 5, 6, 7, 0, 1, 2, 3]);
        assert!(choose(board.clone(), Some(0), 8).is_empty(), "one CPU too few");
        // A cpuset of equal ones, and a machine that tells no capacities.
        assert!(choose(board[4..].to_vec(), Some(4), 2).is_empty());
        assert!(choose(vec![(0, 0), (1, 0)], Some(0), 1).is_empty());
    }

    #[test]
    fn a_bound_thread_may_run_nowhere_else() {
        std::thread::spawn(|| {
            // SAFETY: as in `for_workers`.
            let allowed = || unsafe {
                let mut set: libc::cpu_set_t = core::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set), 0);
                (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect::<Vec<_>>()
            };
            let last = *allowed().last().expect("this thread runs somewhere");
            bind(last);
            assert_eq!(allowed(), [last]);
        })
        .join()
        .unwrap();
    }
}
