//! Thumbnails in a terminal: kitty's graphics protocol, iTerm2's inline images, sixels.

#[cfg(unix)]
mod ask;
mod sixel;

use super::thumbnail::{Failed, Thumbnail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;

/// Most pixels of a thumbnail's side: some ten lines of text.
pub(super) const SIDE: u32 = 240;
/// Most characters of one of kitty's escape sequences.
const KITTY_CHUNK: usize = 4096;

/// What `--thumbnails` asks for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Choice {
    /// What the terminal answers that it can; none where stdout is no terminal
    Auto,
    /// kitty, Ghostty, Konsole, WezTerm
    Kitty,
    /// iTerm2, WezTerm, mintty
    Iterm,
    /// foot, mlterm, Windows Terminal, xterm -ti vt340, tmux
    Sixel,
    /// No thumbnails
    None,
}

/// How a terminal is sent a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>
    Kitty,
    /// <https://iterm2.com/documentation-images.html>
    Iterm,
    /// VT330/VT340 Programmer Reference Manual, volume 2, chapter 14.
    Sixel,
}

impl Choice {
    /// The protocol that was chosen; `Auto` asks the terminal.
    pub(super) fn protocol(self) -> Option<Protocol> {
        match self {
            #[cfg(unix)]
            Choice::Auto => ask::protocol(),
            #[cfg(not(unix))]
            Choice::Auto => None,
            Choice::Kitty => Some(Protocol::Kitty),
            Choice::Iterm => Some(Protocol::Iterm),
            Choice::Sixel => Some(Protocol::Sixel),
            Choice::None => None,
        }
    }
}

impl Protocol {
    /// What shows `thumbnail` where the cursor is, and puts the cursor below it.
    pub(super) fn shown(self, thumbnail: &Thumbnail) -> Result<Vec<u8>, Failed> {
        let mut text = match self {
            Protocol::Kitty => kitty(thumbnail),
            Protocol::Iterm => iterm(&thumbnail.jpeg()?),
            Protocol::Sixel => sixel::encode(thumbnail),
        };
        text.push('\n');
        Ok(text.into_bytes())
    }
}

/// Its pixels, sent and shown at once (a=T), in pieces (m=1) to which the terminal shall answer nothing (q=2).
fn kitty(Thumbnail { width, height, pixels }: &Thumbnail) -> String {
    let data = BASE64.encode(pixels);
    let mut text = String::new();
    let mut keys = format!("a=T,f=24,s={width},v={height},");
    let mut rest = data.as_str();
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(rest.len().min(KITTY_CHUNK));
        let m = u8::from(!more.is_empty());
        text += &format!("\x1b_G{keys}q=2,m={m};{chunk}\x1b\\");
        keys.clear();
        rest = more;
    }
    text
}

/// A file, shown in its own size.
fn iterm(file: &[u8]) -> String {
    format!("\x1b]1337;File=inline=1;size={}:{}\x07", file.len(), BASE64.encode(file))
}
