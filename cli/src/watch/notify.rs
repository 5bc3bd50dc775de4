//! What systemd is told (sd_notify(3)): ready, alive, stopping.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The variable with the socket. Programs that are started get it not.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it must hear that we are alive.
    watchdog: Option<Duration>,
    told: Instant,
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn from_environment() -> Manager {
        let socket = std::env::var_os(SOCKET).and_then(|name| connect(name.as_bytes()).ok());
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|&limit| ours && limit > 0);
        // Thrice as often as must be.
        Manager {
            socket,
            watchdog: limit.map(|limit| Duration::from_micros(limit) / 3),
            told: Instant::now(),
        }
    }

    /// Sends `message`, lines of `NAME=VALUE`. That nobody hears it is no failure.
    pub(super) fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }

    /// To be called often: says that we are alive when it is time to.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some_and(|every| self.told.elapsed() >= every) {
            self.told = Instant::now();
            self.tell("WATCHDOG=1");
        }
    }
}

fn connect(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop us.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
