//! Answers of the server, and how they are sent.

use crate::server::Request;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

/// An answer before faults meet it.
pub(crate) struct Answer {
    status: u16,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Answer {
        let mut answer = Answer { status, headers: BTreeMap::new(), body: Vec::new() };
        answer.set("Content-Length", 0);
        answer
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.headers.insert(name, value.to_string());
    }

    pub(crate) fn refusal(status: u16, code: &'static str) -> Answer {
        let mut answer = Answer::new(status);
        answer.set("X-Error-Code", code);
        answer
    }

    pub(crate) fn json(json: &serde_json::Value) -> Answer {
        let mut answer = Answer::new(200);
        answer.body = json.to_string().into_bytes();
        answer.set("Content-Type", "application/json");
        answer.set("Content-Length", answer.body.len());
        answer
    }

    /// A file, or the range of it that is asked for.
    pub(crate) fn file(bytes: &[u8], request: &Request, ranges: bool) -> Answer {
        let range = request.header("range").filter(|_| ranges);
        let start =
            range.map(|range| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap());
        let start: usize = start.unwrap_or(0);
        if start > 0 && start >= bytes.len() {
            return Answer::new(416);
        }
        let mut answer = Answer::new(if range.is_some() { 206 } else { 200 });
        if range.is_some() {
            answer.set("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()));
        }
        answer.body = bytes[start..].to_vec();
        answer.set("Content-Length", answer.body.len());
        answer
    }

    /// Sends the head and at most `end` bytes of the body.
    pub(crate) fn send(
        &self,
        mut stream: TcpStream,
        end: usize,
        stall: Option<Duration>,
        rate: Option<usize>,
    ) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        let body = &self.body[..end.min(self.body.len())];
        match rate {
            None => stream.write_all(body)?,
            Some(rate) => {
                for piece in body.chunks(rate.div_ceil(50).max(1)) {
                    stream.write_all(piece)?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        if let Some(time) = stall {
            thread::sleep(time);
        }
        // The end of the answer, and not a reset that could overtake it.
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        _ = stream.read(&mut [0; 256]);
        Ok(())
    }
}
