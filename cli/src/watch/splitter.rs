//! JPEG pictures in a stream of bytes: where each begins and ends, and where the next one does after damage. Uses nothing
//! else of the program, so that `fuzz/` can compile it too; its tests are in `mjpeg`.

/// A picture has at most so many bytes.
const MAX_BYTES: usize = 64 << 20;
/// Markers of ITU-T T.81, table B.1.
const MARK: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// A picture's first three bytes, of which those in `bytes` were seen.
    Start,
    /// The 0xff of a marker.
    Marker,
    /// Which marker it is.
    Code,
    /// The bytes of a segment's length.
    Length { scan: bool, high: Option<u8> },
    /// So many bytes of a segment.
    Segment { scan: bool, left: usize },
    /// Coded data up to a 0xff,
    Scan,
    /// and what follows that.
    ScanCode,
}

/// What was found in the stream.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A whole picture. The bytes may be exchanged for other memory.
    Picture(&'a mut Vec<u8>),
    /// A picture that is left out, and why.
    Damaged(&'static str),
}

/// Finds pictures by their structure, so that what is between them (the parts of an HTTP answer) does not matter, and a
/// picture inside a picture (a thumbnail) is none of its own.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// The picture so far.
    bytes: Vec<u8>,
    next: Next,
    /// Where the last segment starts in it.
    segment: usize,
    /// The bytes of a damaged segment are looked through again.
    again: bool,
}

impl Splitter {
    pub(crate) fn new() -> Splitter {
        Splitter { bytes: Vec::new(), next: Next::Start, segment: 0, again: false }
    }

    /// Goes through `data`, the next bytes of the stream, and shows what it finds.
    pub(crate) fn feed(&mut self, mut data: &[u8], show: &mut dyn FnMut(Found<'_>)) {
        while let Some(&byte) = data.first() {
            let used = match self.next {
                Next::Start => self.start(byte, data),
                Next::Segment { scan, left } => {
                    let used = left.min(data.len());
                    self.bytes.extend_from_slice(&data[..used]);
                    self.next = match left - used {
                        0 if scan => Next::Scan,
                        0 => Next::Marker,
                        left => Next::Segment { scan, left },
                    };
                    used
                }
                Next::Scan => {
                    let mark = data.iter().position(|&byte| byte == MARK);
                    let used = mark.map_or(data.len(), |at| at + 1);
                    self.bytes.extend_from_slice(&data[..used]);
                    self.next = if mark.is_some() { Next::ScanCode } else { Next::Scan };
                    used
                }
                _ => {
                    self.bytes.push(byte);
                    self.byte(byte, show);
                    1
                }
            };
            data = &data[used..];
            if self.bytes.len() > MAX_BYTES {
                self.segment = self.bytes.len();
                self.damage("a picture has no end", show);
            }
        }
    }

    /// The stream ends.
    pub(crate) fn end(&mut self, show: &mut dyn FnMut(Found<'_>)) {
        while self.next != Next::Start {
            if !matches!(self.next, Next::Length { .. } | Next::Segment { .. }) {
                self.segment = self.bytes.len();
            }
            self.damage("the stream ended inside a picture", show);
        }
        self.bytes.clear();
    }

    /// Looks for the first bytes of a picture; how many were used.
    fn start(&mut self, byte: u8, data: &[u8]) -> usize {
        const FIRST: [u8; 3] = [MARK, START, MARK];
        if byte == FIRST[self.bytes.len()] {
            self.bytes.push(byte);
            if self.bytes.len() == FIRST.len() {
                self.next = Next::Code;
            }
            return 1;
        }
        let seen = !self.bytes.is_empty();
        self.bytes.clear();
        match seen {
            // It may be the first byte itself.
            true if byte == MARK => 0,
            true => 1,
            false => data.iter().position(|&byte| byte == MARK).unwrap_or(data.len()),
        }
    }

    /// One byte that decides what comes next; it is the last of `bytes`.
    fn byte(&mut self, byte: u8, show: &mut dyn FnMut(Found<'_>)) {
        self.next = match (self.next, byte) {
            (Next::Marker, MARK) => Next::Code,
            (Next::Marker, _) => return self.damage("a picture has no marker where one must be", show),
            // Any number of 0xff may stand before a marker.
            (Next::Code | Next::ScanCode, MARK) => self.next,
            (Next::ScanCode, 0 | 0xd0..=0xd7) => Next::Scan,
            (_, END) if matches!(self.next, Next::Code | Next::ScanCode) => {
                show(Found::Picture(&mut self.bytes));
                self.bytes.clear();
                Next::Start
            }
            (Next::Code | Next::ScanCode, START) => {
                // The one before has no end, and this is the next one's start.
                show(Found::Damaged("a picture is cut off"));
                self.bytes.clear();
                self.bytes.extend([MARK, START]);
                Next::Start
            }
            (Next::Code, 0) => return self.damage("a picture has no marker where one must be", show),
            (Next::Code, 1 | 0xd0..=0xd7) => Next::Marker,
            (Next::Code | Next::ScanCode, code) => {
                self.segment = self.bytes.len();
                Next::Length { scan: code == SCAN, high: None }
            }
            (Next::Length { scan, high: None }, high) => Next::Length { scan, high: Some(high) },
            (Next::Length { scan, high: Some(high) }, low) => {
                match usize::from(u16::from_be_bytes([high, low])).checked_sub(2) {
                    None => return self.damage("a picture has a segment without a length", show),
                    Some(0) if scan => Next::Scan,
                    Some(0) => Next::Marker,
                    Some(left) => Next::Segment { scan, left },
                }
            }
            (next, _) => next,
        };
    }

    /// Leaves the picture out. The next one may have begun in what was taken for a segment of this one.
    fn damage(&mut self, why: &'static str, show: &mut dyn FnMut(Found<'_>)) {
        show(Found::Damaged(why));
        let rest = self.bytes.split_off(self.segment.min(self.bytes.len()));
        self.bytes.clear();
        self.next = Next::Start;
        // Once is enough: what is damaged again in there is passed over.
        if !std::mem::replace(&mut self.again, true) {
            self.feed(&rest, show);
            self.again = false;
        }
    }
}
