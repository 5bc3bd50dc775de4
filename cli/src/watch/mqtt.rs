//! Events for an MQTT broker, and sensors that Home Assistant finds by itself.
//!
//! Under the topic of the URL: `status` (online, offline; the last will), `event` (each event as on stdout), and for each
//! label `LABEL/state` (ON, OFF) and `LABEL/event` (the last one). All but `event` are retained.

use super::broker::Broker;
use super::notes::Notes;
use super::snapshot::slug;
use ocelli::{Error, Result};
use rumqttc::{Client, Connection, Event, LastWill, MqttOptions, Packet, QoS};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Events that are kept while the broker is away.
const KEPT: usize = 64;
/// How long is waited between two attempts to reach the broker, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the last messages may take when everything ends.
const AT_END: Duration = Duration::from_secs(3);
/// A broker that is silent for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A label, and what the broker knows of it.
#[derive(Clone, Debug)]
struct Sensor {
    label: String,
    /// Its part of topics: no two labels have the same.
    slug: String,
    inside: bool,
    last: Option<String>,
}

/// What is to be known of everything, whether the broker is there or not.
#[derive(Debug)]
struct State {
    sensors: Vec<Sensor>,
    /// Sensors that are no more: to be removed from Home Assistant.
    gone: Vec<String>,
    available: bool,
    connected: bool,
    waiting: VecDeque<String>,
}

#[derive(Debug)]
struct Shared {
    topic: String,
    /// Where Home Assistant looks for sensors.
    discovery: Option<String>,
    state: Mutex<State>,
    notes: Notes,
}

/// The connection to the broker. It is made, and made again, by a thread of its own.
pub(super) struct Mqtt {
    client: Client,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Mqtt {
    /// # Errors
    /// The system has no thread. A broker that is not there is no error.
    pub(super) fn start(
        broker: &Broker,
        discovery: Option<&str>,
        labels: impl Iterator<Item = (String, bool)>,
        notes: &Notes,
    ) -> Result<Mqtt> {
        let topic = broker.topic.clone();
        let mut options =
            MqttOptions::new(format!("ocelli-{}", slug(&topic)), broker.host.as_str(), broker.port);
        if let Some((user, password)) = &broker.credentials {
            options.set_credentials(user, password);
        }
        options.set_keep_alive(KEEP_ALIVE);
        options.set_last_will(LastWill::new(format!("{topic}/status"), OFFLINE, QoS::AtLeastOnce, true));
        let sensors = sensors(labels);
        // Everything that is sent at once fits: sensors, their states and events, and what was kept.
        let (client, connection) = Client::new(options, 8 * sensors.len() + 2 * KEPT + 1024);
        let state =
            State { sensors, gone: Vec::new(), available: true, connected: false, waiting: VecDeque::new() };
        let shared = Arc::new(Shared {
            topic,
            discovery: discovery.map(str::to_owned),
            state: Mutex::new(state),
            notes: notes.clone(),
        });
        let work = { (Arc::clone(&shared), client.clone()) };
        let thread = thread::Builder::new()
            .name("mqtt".into())
            .spawn(move || work.0.keep_connected(connection, &work.1))
            .map_err(|source| Error::Io { action: "start a thread for --mqtt", source })?;
        Ok(Mqtt { client, shared, thread: Some(thread) })
    }

    /// A label entered or left; `event` is what stdout says of it.
    pub(super) fn event(&self, label: &str, inside: bool, event: &str) {
        let mut state = self.shared.lock();
        if state.connected {
            self.shared.send(&self.client, "event", event, false);
        } else {
            if state.waiting.len() == KEPT {
                state.waiting.pop_front();
            }
            state.waiting.push_back(event.to_owned());
        }
        let connected = state.connected;
        if let Some(sensor) = state.sensors.iter_mut().find(|sensor| sensor.label == label) {
            (sensor.inside, sensor.last) = (inside, Some(event.to_owned()));
            if connected {
                self.shared.tell(&self.client, sensor);
            }
        }
    }

    /// Whether the source gives frames.
    pub(super) fn available(&self, available: bool) {
        let mut state = self.shared.lock();
        state.available = available;
        if state.connected {
            let status = if available { ONLINE } else { OFFLINE };
            self.shared.send(&self.client, "status", status, true);
        }
    }

    /// Other labels from now on; those that are kept keep their state.
    pub(super) fn relabel(&self, labels: impl Iterator<Item = (String, bool)>) {
        let mut state = self.shared.lock();
        let mut new = sensors(labels);
        for sensor in &mut new {
            if let Some(old) = state.sensors.iter().find(|old| old.label == sensor.label) {
                (sensor.inside, sensor.last) = (old.inside, old.last.clone());
            }
        }
        let old = std::mem::replace(&mut state.sensors, new);
        let gone = old.into_iter().map(|sensor| sensor.slug);
        let gone: Vec<String> =
            gone.filter(|slug| !state.sensors.iter().any(|sensor| sensor.slug == *slug)).collect();
        state.gone.extend(gone);
        if state.connected {
            self.shared.introduce(&self.client, &mut state);
        }
    }
}

impl Drop for Mqtt {
    /// Says that nothing comes any more, and waits until the broker has heard it, but not for long.
    fn drop(&mut self) {
        self.available(false);
        _ = self.client.try_disconnect();
        let end = Instant::now() + AT_END;
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && self.shared.lock().connected && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The sensors of labels; those without events have none.
fn sensors(labels: impl Iterator<Item = (String, bool)>) -> Vec<Sensor> {
    let mut sensors: Vec<Sensor> = Vec::new();
    for (label, _) in labels.filter(|(_, has_events)| *has_events) {
        let (plain, mut number) = (slug(&label), 1);
        let mut slug = plain.clone();
        while sensors.iter().any(|sensor| sensor.slug == slug) {
            number += 1;
            slug = format!("{plain}-{number}");
        }
        sensors.push(Sensor { label, slug, inside: false, last: None });
    }
    sensors
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks with the broker until the client asks for the end.
    fn keep_connected(&self, mut connection: Connection, client: &Client) {
        let (mut pause, mut silent) = (AGAIN.0, false);
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    let mut state = self.lock();
                    state.connected = true;
                    self.introduce(client, &mut state);
                    drop(state);
                    self.notes.add(format_args!("MQTT: connected"));
                    (pause, silent) = (AGAIN.0, false);
                }
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => {
                    self.lock().connected = false;
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    self.lock().connected = false;
                    if matches!(error, rumqttc::ConnectionError::RequestsDone) {
                        return;
                    }
                    // One message for each time that it is away, however often it is tried.
                    if !std::mem::replace(&mut silent, true) {
                        self.notes.add(format_args!(
                            "MQTT: {error}; it is tried again, and what happens meanwhile is kept"
                        ));
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
    }

    /// Tells a broker that has just been reached everything.
    fn introduce(&self, client: &Client, state: &mut State) {
        if let Some(prefix) = &self.discovery {
            let node = slug(&self.topic);
            let place = |slug: &str| format!("{prefix}/binary_sensor/{node}/{slug}/config");
            for slug in state.gone.drain(..) {
                self.publish(client, place(&slug), String::new(), true);
            }
            for sensor in &state.sensors {
                self.publish(client, place(&sensor.slug), self.description(&node, sensor), true);
            }
        }
        let status = if state.available { ONLINE } else { OFFLINE };
        self.send(client, "status", status, true);
        state.sensors.iter().for_each(|sensor| self.tell(client, sensor));
        for event in state.waiting.drain(..) {
            self.send(client, "event", &event, false);
        }
    }

    /// What Home Assistant wants to know of a sensor (MQTT discovery, binary_sensor).
    fn description(&self, node: &str, sensor: &Sensor) -> String {
        let Shared { topic, .. } = self;
        let Sensor { label, slug, .. } = sensor;
        json!({
            "name": label,
            "unique_id": format!("ocelli-{node}-{slug}"),
            "object_id": format!("{node}-{slug}"),
            "state_topic": format!("{topic}/{slug}/state"),
            "json_attributes_topic": format!("{topic}/{slug}/event"),
            "availability_topic": format!("{topic}/status"),
            "payload_on": "ON",
            "payload_off": "OFF",
            "device": {
                "identifiers": [format!("ocelli-{node}")],
                "name": topic,
                "manufacturer": "ocelli",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
        })
        .to_string()
    }

    /// The state of a sensor, and its last event.
    fn tell(&self, client: &Client, sensor: &Sensor) {
        let state = if sensor.inside { "ON" } else { "OFF" };
        self.send(client, &format!("{}/state", sensor.slug), state, true);
        if let Some(event) = &sensor.last {
            self.send(client, &format!("{}/event", sensor.slug), event, true);
        }
    }

    fn send(&self, client: &Client, name: &str, payload: &str, retain: bool) {
        self.publish(client, format!("{}/{name}", self.topic), payload.to_owned(), retain);
    }

    /// Never waits: whoever calls may be the thread that would make room.
    fn publish(&self, client: &Client, topic: String, payload: String, retain: bool) {
        if client.try_publish(topic, QoS::AtLeastOnce, retain, payload).is_err() {
            self.notes.add(format_args!("MQTT: a message is left out, too many wait to be sent"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_labels_have_the_same_topic() {
        let labels = ["A cat", "a  cat", "a-cat", "street", "a cat!"]
            .map(|label| (label.to_owned(), label != "street"));
        let slugs: Vec<String> = sensors(labels.into_iter()).into_iter().map(|sensor| sensor.slug).collect();
        assert_eq!(slugs, ["a-cat", "a-cat-2", "a-cat-3", "a-cat-4"]);
    }
}
