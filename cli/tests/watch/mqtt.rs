//! A real broker (mosquitto, of Debian): what it is told, and what becomes of that when it dies or we do.

use crate::{Live, SIZE, command, has, scenes};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FAST: &[&str] =
    &["--smoothing", "0", "--min-duration", "0", "--gate", "0", "--enter", "0.5", "--leave", "0.3"];

/// A broker that keeps nothing when it dies.
struct Mosquitto {
    child: Child,
    config: PathBuf,
    port: u16,
}

fn start(config: &Path) -> Child {
    Command::new("mosquitto")
        .arg("-c")
        .arg(config)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Mosquitto {
    /// On a free port; with a password file, only for its users.
    fn new(folder: &Path, passwords: Option<&Path>) -> Mosquitto {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.join("mosquitto.conf");
        let who = match passwords {
            Some(path) => format!("allow_anonymous false\npassword_file {}", path.display()),
            None => "allow_anonymous true".into(),
        };
        fs::write(&config, format!("listener {port} 127.0.0.1\n{who}\npersistence false\n")).unwrap();
        let mosquitto = Mosquitto { child: start(&config), config, port };
        mosquitto.wait();
        mosquitto
    }

    fn wait(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = start(&self.config);
        self.wait();
    }

    /// What the broker holds under `topic` now: retained messages.
    fn retained(&self, topic: &str) -> Vec<(String, String)> {
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-t", topic, "-v", "--retained-only", "-W", "1"];
        let output = Command::new("mosquitto_sub").args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect()
    }

    /// Waits until the broker holds this.
    #[track_caller]
    fn until(&self, topic: &str, payload: &str) {
        let start = Instant::now();
        loop {
            let found = self.retained(topic);
            if found == [(topic.to_owned(), payload.to_owned())] {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(45), "{topic} is {found:?}, not {payload}");
        }
    }

    /// The watch at this broker.
    fn watch(&self, user: &str, more: &[&str]) -> Live {
        let url = format!("mqtt://{user}127.0.0.1:{}/home/garden", self.port);
        Live::start(&mut command(&[&["-"], SIZE, FAST, &["--mqtt", &url], more]))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready() -> bool {
    has("mosquitto") && has("mosquitto_sub")
}

#[test]
fn a_broker_that_is_killed_and_comes_back_knows_everything_again() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::new(folder.path(), None);
    let mut live = broker.watch("", &["--ignore", "dog"]);
    live.says("MQTT: connected");
    broker.until("home/garden/status", "online");
    live.write(&scenes(&[("ship", 1)]));
    live.expect("ship", "enter");
    broker.until("home/garden/ship/state", "ON");
    broker.until("home/garden/frog/state", "OFF");
    // Home Assistant finds a sensor for each label that has events.
    let sensors = broker.retained("homeassistant/#");
    assert_eq!(sensors.len(), 9, "{sensors:?}");
    let ship =
        sensors.iter().find(|(topic, _)| topic == "homeassistant/binary_sensor/home-garden/ship/config");
    let ship: Value = serde_json::from_str(&ship.unwrap().1).unwrap();
    assert_eq!(ship["state_topic"], "home/garden/ship/state");
    assert_eq!(ship["availability_topic"], "home/garden/status");
    assert_eq!((&ship["payload_on"], &ship["payload_off"]), (&"ON".into(), &"OFF".into()));
    let event: Value = serde_json::from_str(&broker.retained("home/garden/ship/event")[0].1).unwrap();
    assert_eq!((&event["label"], &event["state"]), (&"ship".into(), &"enter".into()));

    broker.kill();
    live.says("it is tried again");
    live.write(&scenes(&[("frog", 1)]));
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("frog".into(), "enter".into()), ("ship".into(), "leave".into())]);
    broker.restart();
    live.says("MQTT: connected");
    broker.until("home/garden/frog/state", "ON");
    broker.until("home/garden/ship/state", "OFF");
    broker.until("home/garden/status", "online");
    assert_eq!(broker.retained("homeassistant/#").len(), 9);

    // An orderly end: what was there leaves, and the sensors are offline.
    live.stop();
    broker.until("home/garden/status", "offline");
    broker.until("home/garden/frog/state", "OFF");
    // A disorderly one: the last will.
    let mut live = broker.watch("", &[]);
    live.says("MQTT: connected");
    broker.until("home/garden/status", "online");
    live.child.kill().unwrap();
    broker.until("home/garden/status", "offline");
}

#[test]
fn a_broker_that_is_not_there_or_refuses_holds_nothing_up() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (passwords, secret) = (folder.path().join("passwords"), folder.path().join("secret"));
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["me", "p:ss@w/rd"])
        .status();
    assert!(made.unwrap().success());
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let broker = Mosquitto::new(folder.path(), Some(&passwords));
    let mut live = broker.watch("", &[]);
    live.says("MQTT: Connection refused");
    live.write(&scenes(&[("ship", 1)]));
    live.expect("ship", "enter");
    live.stop();
    fs::write(&secret, "p:ss@w/rd\n").unwrap();
    let live = broker.watch("me@", &["--mqtt-password-file", secret.to_str().unwrap()]);
    live.says("MQTT: connected");
    let (_, err) = live.stop();
    assert!(!err.iter().any(|line| line.contains("p:ss")), "{err:?}");
}
