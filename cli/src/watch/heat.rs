//! Rest while the machine is hot.

use crate::sensors;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the sensors are read.
const LOOK: Duration = Duration::from_secs(2);
/// So many degrees below the limit the work goes on.
const BELOW: f64 = 3.0;

/// A limit, and whether it was reached.
#[derive(Debug)]
pub(super) struct Heat {
    sysfs: PathBuf,
    limit: f64,
    hot: bool,
    looked: Option<Instant>,
}

impl Heat {
    /// With the temperatures that are in `sysfs`.
    pub(super) fn new(limit: f64, sysfs: PathBuf) -> Heat {
        Heat { sysfs, limit, hot: false, looked: None }
    }

    /// Whether it is too hot; and the temperature, if that has just changed.
    pub(super) fn look(&mut self) -> (bool, Option<f64>) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return (self.hot, None);
        }
        self.looked = Some(Instant::now());
        self.judge(sensors::hottest(&self.sysfs))
    }

    fn judge(&mut self, celsius: Option<f64>) -> (bool, Option<f64>) {
        let Some(celsius) = celsius else { return (self.hot, None) };
        let limit = if self.hot { self.limit - BELOW } else { self.limit };
        let changed = std::mem::replace(&mut self.hot, celsius >= limit) != self.hot;
        (self.hot, changed.then_some(celsius))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_at_the_limit_and_goes_on_well_below_it() {
        let mut heat = Heat::new(80.0, PathBuf::new());
        let found = [70.0, 79.9, 80.0, 78.0, 77.0, 76.9, 79.0].map(|celsius| heat.judge(Some(celsius)));
        let no = (false, None);
        let (hot, hotter) = ((true, Some(80.0)), (true, None));
        assert_eq!(found, [no, no, hot, hotter, hotter, (false, Some(76.9)), no]);
        assert_eq!(heat.judge(None), no);
    }
}
