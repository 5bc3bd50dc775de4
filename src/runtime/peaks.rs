//! What this machine can do at best, measured: the bound that an operation's time is compared with.

use super::{Runtime, Team};
use crate::error::Result;
use crate::profile::Work;
use core::hint::black_box;
use std::time::{Duration, Instant};
use std::vec;

/// The best rates of all threads of a [`Runtime`] together.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// int8 multiply-accumulates per second, of a loop that touches registers only.
    pub macs_i8: f64,
    /// Likewise f32 multiply-accumulates.
    pub macs_f32: f64,
    /// Bytes per second that can be read of a model's weights.
    pub bytes: f64,
}

/// Measurements of each rate. The best counts: the others were interrupted by whatever else the machine does.
const ROUNDS: usize = 8;
/// Length of one measurement.
const ROUND: Duration = Duration::from_millis(10);

impl Peaks {
    /// Measures on the threads of `runtime`, all at once. `weights`: [`File::data`](crate::format::File::data) of a
    /// model; what fits a cache is read from there, as in an encode.
    ///
    /// # Errors
    /// The runtime is in use by this very thread.
    pub fn measure(runtime: &Runtime, weights: &[u8]) -> Result<Peaks> {
        let (kernels, threads) = (runtime.kernels(), runtime.threads());
        let team = &mut *runtime.hold()?;
        let share = |thread: usize| {
            &weights[weights.len() * thread / threads..weights.len() * (thread + 1) / threads]
        };
        Ok(Peaks {
            macs_i8: best(team, |_| kernels.peak_i8(50_000)),
            macs_f32: best(team, |_| kernels.peak_f32(50_000)),
            bytes: best(team, |thread| read(share(thread))),
        })
    }

    /// Seconds that the multiplications of `work` take at least.
    pub fn compute(&self, work: &Work) -> f64 {
        work.macs_i8 as f64 / self.macs_i8 + work.macs_float as f64 / self.macs_f32
    }

    /// Seconds that `work` takes at least if all its bytes come from where the weights are: multiplying or moving,
    /// whichever is longer. An operation whose activations stay in a nearer cache can be faster.
    pub fn bound(&self, work: &Work) -> f64 {
        self.compute(work).max(work.bytes as f64 / self.bytes)
    }
}

/// Calls `work(thread)` again and again on every thread at once; the best sum of what it returns, per second.
fn best(team: &mut Team, work: impl Fn(usize) -> u64 + Sync) -> f64 {
    let mut round = || {
        let mut rates = vec![0.0; team.threads()];
        team.run_parts(rates.iter_mut().enumerate(), |(thread, rate)| {
            let (start, mut done) = (Instant::now(), 0);
            while done == 0 || start.elapsed() < ROUND {
                done += work(thread);
            }
            *rate = done as f64 / start.elapsed().as_secs_f64();
        });
        rates.iter().sum()
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

/// Reads all of `bytes`; gives their number.
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 8];
    for line in black_box(bytes).as_chunks::<64>().0 {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    black_box(sums);
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn the_bound_is_the_longer_of_multiplying_and_moving() {
        let limits = Peaks { macs_i8: 100.0, macs_f32: 50.0, bytes: 10.0 };
        let work = |macs_i8, macs_float, bytes| Work { macs_i8, macs_float, bytes };
        assert_eq!(limits.bound(&work(400, 100, 50)), 6.0);
        assert_eq!(limits.compute(&work(400, 100, 90)), 6.0);
        assert_eq!(limits.bound(&work(400, 100, 90)), 9.0);
        assert_eq!(limits.bound(&Work::moved(20)), 2.0);
    }

    #[test]
    fn rates_are_those_of_all_threads_in_their_time() {
        // Each sleeps 20 ms or more for every 2000, however busy the machine is.
        let called = [const { AtomicBool::new(false) }; 2];
        let rate = best(&mut Team::new(2).unwrap(), |thread| {
            called[thread].store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            2000
        });
        assert!(called.iter().all(|called| called.load(Ordering::Relaxed)));
        assert!(rate > 0.0 && rate <= 200_000.0, "{rate}");
    }

    #[test]
    fn every_byte_is_read() {
        assert_eq!((read(&[]), read(&[1; 1000])), (0, 1000));
    }
}
