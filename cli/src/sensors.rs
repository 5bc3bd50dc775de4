//! Clock, temperature and throttling, where the system tells (Linux, `/sys`).

use crate::named::Named;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// What the system says now; `None` where it says nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Sensors {
    /// The clock of every CPU.
    mhz: Option<Vec<u64>>,
    /// The temperature of every thermal zone, by its type.
    celsius: Option<Named<f64>>,
    /// What a Raspberry Pi's firmware complains of.
    throttled: Option<Vec<&'static str>>,
}

/// One line; a dash where the system says nothing.
impl fmt::Display for Sensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Option<Vec<String>>| match items {
            None => "-".to_owned(),
            Some(items) if items.is_empty() => "no".to_owned(),
            Some(items) => items.join(", "),
        };
        let strings = |items: &[u64]| items.iter().map(u64::to_string).collect();
        let zones = |Named(zones): &Named<f64>| {
            zones.iter().map(|(name, degrees)| format!("{name} {degrees}")).collect()
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        write!(
            f,
            "clock MHz: {}; temperature: {}; throttled: {}",
            list(self.mhz.as_deref().map(strings)),
            list(self.celsius.as_ref().map(zones)),
            list(self.throttled.as_deref().map(names)),
        )
    }
}

/// What the system says in `sysfs`, which [`ocelli::knobs::sysfs`] names.
pub(crate) fn read(sysfs: &Path) -> Sensors {
    Sensors { mhz: clocks(sysfs), celsius: temperatures(sysfs), throttled: throttled(sysfs) }
}

/// The temperature of the hottest thermal zone in degrees Celsius, where the system tells one.
#[cfg(any(feature = "index", all(feature = "watch", target_os = "linux")))]
pub(crate) fn hottest(sysfs: &Path) -> Option<f64> {
    let Named(zones) = temperatures(sysfs)?;
    zones.into_iter().map(|(_, celsius)| celsius).reduce(f64::max)
}

fn text(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The folders in `folder` whose names are `prefix` and a number, in the order of the numbers.
fn numbered(folder: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<(u32, std::path::PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The clock of every CPU in MHz.
fn clocks(sysfs: &Path) -> Option<Vec<u64>> {
    let mhz: Vec<u64> = numbered(&sysfs.join("devices/system/cpu"), "cpu")
        .iter()
        .filter_map(|cpu| text(&cpu.join("cpufreq/scaling_cur_freq"))?.parse::<u64>().ok())
        .map(|khz| khz / 1000)
        .collect();
    (!mhz.is_empty()).then_some(mhz)
}

/// The temperature of every thermal zone, by its type.
fn temperatures(sysfs: &Path) -> Option<Named<f64>> {
    let zones: Vec<(String, f64)> = numbered(&sysfs.join("class/thermal"), "thermal_zone")
        .iter()
        .filter_map(|zone| {
            let millidegrees: f64 = text(&zone.join("temp"))?.parse().ok()?;
            let name = text(&zone.join("type")).or_else(|| zone.file_name()?.to_str().map(str::to_owned))?;
            Some((name, millidegrees / 1e3))
        })
        .collect();
    (!zones.is_empty()).then_some(Named(zones))
}

/// Bits of a Raspberry Pi's `get_throttled` (documentation of `vcgencmd`).
const THROTTLED: [(u32, &str); 8] = [
    (0, "undervoltage now"),
    (1, "frequency capped now"),
    (2, "throttled now"),
    (3, "soft temperature limit now"),
    (16, "undervoltage since start"),
    (17, "frequency capped since start"),
    (18, "throttled since start"),
    (19, "soft temperature limit since start"),
];

fn throttled(sysfs: &Path) -> Option<Vec<&'static str>> {
    let hex = text(&sysfs.join("devices/platform/soc/soc:firmware/get_throttled"))?;
    let bits = u32::from_str_radix(hex.strip_prefix("0x").unwrap_or(&hex), 16).ok()?;
    Some(THROTTLED.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, meaning)| *meaning).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};
    use std::fs;

    #[test]
    fn a_throttled_pi_is_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (cpu, khz) in [(0, 1_800_000), (1, 600_000), (10, 2_400_000)] {
            write(&format!("devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"), &format!("{khz}\n"));
        }
        write("devices/system/cpu/cpuidle/current_driver", "none");
        write("class/thermal/thermal_zone0/temp", "61234\n");
        write("class/thermal/thermal_zone0/type", "cpu-thermal\n");
        write("class/thermal/thermal_zone1/temp", "broken\n");
        write("devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        let expected = json!({
            "mhz": [1800, 600, 2400],
            "celsius": {"cpu-thermal": 61.234},
            "throttled": [
                "undervoltage now", "throttled now", "undervoltage since start", "throttled since start"
            ],
        });
        let found = read(root.path());
        assert_eq!(to_value(&found).unwrap(), expected);
        let line = found.to_string();
        assert!(
            line.starts_with("clock MHz: 1800, 600, 2400; temperature: cpu-thermal 61.234; throttled: under"),
            "{line}"
        );
    }

    #[test]
    fn a_silent_system_gives_nulls() {
        let root = tempfile::tempdir().unwrap();
        let found = read(root.path());
        assert_eq!(to_value(&found).unwrap(), json!({"mhz": null, "celsius": null, "throttled": null}));
        assert_eq!(found.to_string(), "clock MHz: -; temperature: -; throttled: -");
    }
}
