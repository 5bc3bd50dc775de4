//! Programs that tests start, and what processes take.

use std::path::Path;
use std::process::Command;

/// `program` without arguments, and without knobs in its environment but the model of where none is named, which is
/// [`cifar10`](crate::cifar10). Under an emulator it runs under the same one: that is
/// what Cargo's variable for the target holds.
pub fn program(program: impl AsRef<Path>) -> Command {
    let arch = std::env::consts::ARCH.to_uppercase();
    let runner = std::env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER")).unwrap_or_default();
    let mut words = runner.split_whitespace().map(AsRef::as_ref).chain([program.as_ref().as_os_str()]);
    let mut command = Command::new(words.next().expect("at least the program"));
    command.args(words);
    for knob in ocelli::knobs::ALL {
        command.env_remove(knob.name);
    }
    command.env(ocelli::knobs::MODEL.name, crate::cifar10());
    command
}

/// `command` under a shell that first does `setup`.
pub fn under_shell(setup: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Resident KiB, threads and open descriptors of process `id`, as Linux tells them.
pub fn usage(id: u32) -> (usize, usize, usize) {
    let process = format!("/proc/{id}");
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap().count();
    (number("VmRSS:"), number("Threads:"), descriptors)
}
