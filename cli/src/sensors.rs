//! Clock, temperature and throttling, where the system tells (Linux, `/sys`).

use serde_json::{Value, json};
use std::path::Path;

/// What the system under `root` (`/` but in tests) says now:
/// `{"mhz":[per CPU],"celsius":{zone:degrees},"throttled":[what a Raspberry Pi's firmware complains of]}`; null where it
/// says nothing.
pub(crate) fn read(root: &Path) -> Value {
    json!({"mhz": clocks(root), "celsius": temperatures(root), "throttled": throttled(root)})
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
fn clocks(root: &Path) -> Option<Vec<u64>> {
    let mhz: Vec<u64> = numbered(&root.join("sys/devices/system/cpu"), "cpu")
        .iter()
        .filter_map(|cpu| text(&cpu.join("cpufreq/scaling_cur_freq"))?.parse::<u64>().ok())
        .map(|khz| khz / 1000)
        .collect();
    (!mhz.is_empty()).then_some(mhz)
}

/// The temperature of every thermal zone, by its type.
fn temperatures(root: &Path) -> Option<serde_json::Map<String, Value>> {
    let zones: serde_json::Map<String, Value> = numbered(&root.join("sys/class/thermal"), "thermal_zone")
        .iter()
        .filter_map(|zone| {
            let millidegrees: f64 = text(&zone.join("temp"))?.parse().ok()?;
            let name = text(&zone.join("type")).or_else(|| zone.file_name()?.to_str().map(str::to_owned))?;
            Some((name, json!(millidegrees / 1e3)))
        })
        .collect();
    (!zones.is_empty()).then_some(zones)
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

fn throttled(root: &Path) -> Option<Vec<&'static str>> {
    let hex = text(&root.join("sys/devices/platform/soc/soc:firmware/get_throttled"))?;
    let bits = u32::from_str_radix(hex.strip_prefix("0x").unwrap_or(&hex), 16).ok()?;
    Some(THROTTLED.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, meaning)| *meaning).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
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
            write(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"), &format!("{khz}\n"));
        }
        write("sys/devices/system/cpu/cpuidle/current_driver", "none");
        write("sys/class/thermal/thermal_zone0/temp", "61234\n");
        write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        write("sys/class/thermal/thermal_zone1/temp", "broken\n");
        write("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        let expected = json!({
            "mhz": [1800, 600, 2400],
            "celsius": {"cpu-thermal": 61.234},
            "throttled": [
                "undervoltage now", "throttled now", "undervoltage since start", "throttled since start"
            ],
        });
        assert_eq!(read(root.path()), expected);
    }

    #[test]
    fn a_silent_system_gives_nulls() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), json!({"mhz": null, "celsius": null, "throttled": null}));
    }
}
