//! Which pictures the terminal shows: it is asked, as its name says little (tmux, ssh, new versions).

use super::Protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

/// Whether it takes a picture of kitty's protocol, its name and version (XTVERSION), and what it can (DA1). Every terminal
/// answers the last.
const QUESTIONS: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>q\x1b[c";
/// Longest wait for the answers: they may come over a network.
const PATIENCE: Duration = Duration::from_millis(800);
/// Most bytes of answers.
const MOST: usize = 4096;

/// The protocol that the terminal behind stdout understands.
pub(super) fn protocol() -> Option<Protocol> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    // These would print the questions, and know none of the protocols.
    let prints = matches!(variable("TERM").as_str(), "" | "dumb" | "linux")
        || variable("TERM_PROGRAM") == "Apple_Terminal";
    let stdout = io::stdout();
    if prints || !stdout.is_terminal() {
        return None;
    }
    understood(&String::from_utf8_lossy(&answers(stdout)?))
}

/// What the terminal says to the questions.
fn answers(stdout: Stdout) -> Option<Vec<u8>> {
    // The file of a terminal is open for both directions as a rule; where it isn't, nothing can be read.
    let mut terminal = Raw::new(stdout)?;
    terminal.stdout.write_all(QUESTIONS).and_then(|()| terminal.stdout.flush()).ok()?;
    let (end, mut answers) = (Instant::now() + PATIENCE, Vec::new());
    while attributes(&String::from_utf8_lossy(&answers)).is_none() && answers.len() < MOST {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok()?;
        let mut ready = [PollFd::new(&terminal.stdout, PollFlags::IN)];
        if poll(&mut ready, Some(&left)).unwrap_or(0) == 0 {
            break;
        }
        let mut piece = [0; 256];
        match rustix::io::read(&terminal.stdout, &mut piece) {
            Ok(read @ 1..) => answers.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    Some(answers)
}

/// The best protocol of which the answers speak.
fn understood(answers: &str) -> Option<Protocol> {
    if answers.contains("\x1bP>|iTerm2") {
        return Some(Protocol::Iterm);
    }
    if answers.contains("\x1b_Gi=31;OK") {
        return Some(Protocol::Kitty);
    }
    // The first number is the kind of terminal; 4 behind it stands for sixels.
    let sixels = attributes(answers)?.split(';').skip(1).any(|attribute| attribute == "4");
    sixels.then_some(Protocol::Sixel)
}

/// The numbers in the answer to DA1, `ESC [ ? 62 ; 4 ; 22 c`.
fn attributes(answers: &str) -> Option<&str> {
    answers.split("\x1b[?").skip(1).find_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        rest[end..].starts_with('c').then_some(&rest[..end])
    })
}

/// A terminal that neither shows nor keeps back what it is sent, until this is dropped.
struct Raw {
    stdout: Stdout,
    before: Termios,
}

impl Raw {
    fn new(stdout: Stdout) -> Option<Raw> {
        let before = tcgetattr(&stdout).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdout, OptionalActions::Now, &raw).ok()?;
        Some(Raw { stdout, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that went away needs nothing.
        let _ = tcsetattr(&self.stdout, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_terminals_are_understood() {
        for (answers, expected) in [
            // kitty, Ghostty, WezTerm with both
            ("\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.41.1)\x1b\\\x1b[?62;52;c", Some(Protocol::Kitty)),
            ("\x1b_Gi=31;OK\x1b\\\x1bP>|WezTerm 2024\x1b\\\x1b[?65;4;6;18;22;52c", Some(Protocol::Kitty)),
            // iTerm2, with kitty's protocol and without
            ("\x1b_Gi=31;OK\x1b\\\x1bP>|iTerm2 3.5.10\x1b\\\x1b[?64;4c", Some(Protocol::Iterm)),
            ("\x1bP>|iTerm2 3.4.0\x1b\\\x1b[?62;4c", Some(Protocol::Iterm)),
            // foot, xterm -ti vt340, Windows Terminal
            ("\x1bP>|foot(1.20.2)\x1b\\\x1b[?62;4;22;28;29;52c", Some(Protocol::Sixel)),
            ("\x1bP>|XTerm(390)\x1b\\\x1b[?63;1;2;4;6;9;15;16;22;28c", Some(Protocol::Sixel)),
            ("\x1b[?61;4;6;7;14;21;22;23;24;28;32;42;52c", Some(Protocol::Sixel)),
            // Alacritty, a VT132, a terminal that refuses, one that says nothing, one that was cut off
            ("\x1b[?6c", None),
            ("\x1b[?4;6c", None),
            ("\x1b_Gi=31;ENOTSUP:no\x1b\\\x1b[?62;22c", None),
            ("", None),
            ("\x1b[?62;4", None),
            // Keys that were pressed meanwhile.
            ("ls\x1b[A\x1b[?1u\x1b[?62;4cx", Some(Protocol::Sixel)),
        ] {
            assert_eq!(understood(answers), expected, "{answers:?}");
        }
    }
}
