//! How HTTP/1.1 frames requests, read strictly and before anything else sees a byte of them (RFC 9112).
//!
//! Two programs on the way of a request that disagree about where it ends can be made to see different requests. So what
//! any of them might read in another way is refused here, though most servers would take it: line ends other than CRLF,
//! folded fields, control characters, two lengths, a length beside chunks, chunk extensions and trailers. What passes has
//! one reading.
//!
//! This only watches: bytes are handed on as they came. Nothing here waits, reads or writes.

use memchr::{memchr, memchr3, memmem};

/// Bounds of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Longest request line in bytes, its end left out.
    pub(crate) line_bytes_max: usize,
    /// Longest head in bytes, all of it.
    pub(crate) bytes_max: usize,
    /// Most fields.
    pub(crate) fields_max: usize,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A line that ends with LF alone, or a CR within one.
    LineEnd,
    /// A NUL or another control character, or one beyond ASCII in the request line.
    Control,
    /// The first line is no `METHOD target HTTP/1.1`, one space between them.
    RequestLine,
    /// A target with a fragment, or with what no address has.
    Target,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A field without a name of its own: an odd character in it, a space before the colon, no colon.
    FieldName,
    /// A field that goes on in the next line.
    Folded,
    /// No Host.
    NoHost,
    /// More than one Host.
    TwoHosts,
    /// A length that is no plain number, or two.
    Length,
    /// A transfer coding other than `chunked`, or with HTTP/1.0.
    Coding,
    /// A length beside a transfer coding.
    TwoLengths,
    /// A chunk with an odd size, an extension, no CRLF behind it, or trailers behind the last.
    Chunk,
    /// The request line is longer than this.
    LineTooLong(usize),
    /// The head is longer than this.
    HeadTooLong(usize),
    /// There are more fields than this.
    TooManyFields(usize),
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole head of so many bytes.
    Head(usize),
    /// So many bytes of a body.
    Body(usize),
    /// An empty line before a request, of so many bytes, which is to be left out (RFC 9112, section 2.2).
    Skip(usize),
    /// Nothing can be said before more bytes are there.
    More,
}

/// Where a connection is in its sequence of requests.
#[derive(Debug)]
pub(crate) struct Framing {
    limits: HeadLimits,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or within a head; `looked` bytes hold no end of it, and `skipped` tells that an empty line was left out.
    Head {
        looked: usize,
        skipped: bool,
    },
    /// Within a body with so many bytes left.
    Sized(u64),
    Chunked(Chunk),
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// Within the size, of which so many digits were seen.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the CR that ends the size.
    SizeEnd(u64),
    Data(u64),
    /// Behind the data.
    DataCr,
    DataLf,
    /// Behind the last chunk, which has no data.
    LastCr,
    LastLf,
}

/// Digits of a chunk's size: below 2^60.
const CHUNK_DIGITS_MAX: u8 = 15;
/// Digits of a length: below 2^63.
const LENGTH_DIGITS_MAX: usize = 18;

impl Framing {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head { looked: 0, skipped: false } }
    }

    /// Whether the next byte belongs to a head.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Says what `bytes` begin with, which are those behind the last [`Step`] that took any.
    ///
    /// # Errors
    /// What is wrong with them. The connection is of no use any more.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        if bytes.is_empty() {
            return Ok(Step::More);
        }
        match self.state {
            State::Head { looked, skipped } => self.head(bytes, looked, skipped),
            State::Sized(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.state = body_of(left - taken as u64);
                Ok(Step::Body(taken))
            }
            State::Chunked(_) => self.chunks(bytes),
        }
    }

    fn head(&mut self, bytes: &[u8], looked: usize, skipped: bool) -> Result<Step, Violation> {
        if bytes[0] == b'\r' && !skipped {
            return match bytes.get(1) {
                None => Ok(Step::More),
                Some(b'\n') => {
                    self.state = State::Head { looked: 0, skipped: true };
                    Ok(Step::Skip(2))
                }
                Some(_) => Err(Violation::LineEnd),
            };
        }
        let limits = self.limits;
        // The last bytes looked at may be the beginning of the end.
        let from = looked.saturating_sub(3);
        let Some(end) = head_end(&bytes[from..]).map(|end| from + end) else {
            check_so_far(bytes, &limits)?;
            self.state = State::Head { looked: bytes.len(), skipped };
            return Ok(Step::More);
        };
        if end > limits.bytes_max {
            return Err(first_too_long(&bytes[..end], &limits));
        }
        let length = check(&bytes[..end], &limits)?;
        self.state = match length {
            Length::Sized(left) => body_of(left),
            Length::Chunked => State::Chunked(Chunk::Size { size: 0, digits: 0 }),
        };
        Ok(Step::Head(end))
    }

    fn chunks(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let State::Chunked(chunk) = self.state else { break };
            let byte = bytes[at];
            let next = match chunk {
                Chunk::Size { size, digits } => match char::from(byte).to_digit(16) {
                    Some(digit) if digits < CHUNK_DIGITS_MAX => {
                        Chunk::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                    }
                    None if byte == b'\r' && digits > 0 => Chunk::SizeEnd(size),
                    _ => return Err(Violation::Chunk),
                },
                Chunk::SizeEnd(0) if byte == b'\n' => Chunk::LastCr,
                Chunk::SizeEnd(size) if byte == b'\n' => Chunk::Data(size),
                Chunk::Data(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    at += taken;
                    let left = left - taken as u64;
                    self.state = State::Chunked(if left == 0 { Chunk::DataCr } else { Chunk::Data(left) });
                    continue;
                }
                Chunk::DataCr if byte == b'\r' => Chunk::DataLf,
                Chunk::DataLf if byte == b'\n' => Chunk::Size { size: 0, digits: 0 },
                Chunk::LastCr if byte == b'\r' => Chunk::LastLf,
                Chunk::LastLf if byte == b'\n' => {
                    self.state = body_of(0);
                    return Ok(Step::Body(at + 1));
                }
                _ => return Err(Violation::Chunk),
            };
            self.state = State::Chunked(next);
            at += 1;
        }
        Ok(Step::Body(at))
    }
}

/// The state with so many bytes of a body left.
fn body_of(left: u64) -> State {
    if left == 0 { State::Head { looked: 0, skipped: false } } else { State::Sized(left) }
}

/// How long the body is.
enum Length {
    Sized(u64),
    Chunked,
}

/// Where the head ends, its empty line included. A bare LF ends lines for those who take it, so it ends a head here too,
/// to be refused.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(lf) = memchr(b'\n', &bytes[at..]) {
        at += lf + 1;
        match bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Refuses a head of which only the beginning is there, where that is enough.
fn check_so_far(bytes: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
    if bytes.len() > limits.bytes_max {
        return Err(first_too_long(bytes, limits));
    }
    let line_end = memchr(b'\n', bytes);
    if line_end.unwrap_or(bytes.len()) > limits.line_bytes_max + 1 {
        return Err(Violation::LineTooLong(limits.line_bytes_max));
    }
    Ok(())
}

fn first_too_long(bytes: &[u8], limits: &HeadLimits) -> Violation {
    if memchr(b'\n', bytes).unwrap_or(bytes.len()) > limits.line_bytes_max + 1 {
        Violation::LineTooLong(limits.line_bytes_max)
    } else {
        Violation::HeadTooLong(limits.bytes_max)
    }
}

/// Checks a whole head, and tells how long its body is.
fn check(head: &[u8], limits: &HeadLimits) -> Result<Length, Violation> {
    let (first, mut rest) = line(head)?;
    if first.len() > limits.line_bytes_max {
        return Err(Violation::LineTooLong(limits.line_bytes_max));
    }
    let is_1_1 = request_line(first).map_err(|violation| in_line(first, violation))?;
    let (mut hosts, mut fields) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    loop {
        let (field, behind) = line(rest)?;
        rest = behind;
        if field.is_empty() {
            break;
        }
        fields += 1;
        if fields > limits.fields_max {
            return Err(Violation::TooManyFields(limits.fields_max));
        }
        let (name, value) = field_of(field).map_err(|violation| in_line(field, violation))?;
        // Few have names as long as those that matter here.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let number = number(value).ok_or(Violation::Length)?;
                if length.replace(number).is_some() {
                    return Err(Violation::Length);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !is_1_1 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Violation::Coding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match hosts {
        1 => {}
        0 if !is_1_1 => {}
        0 => return Err(Violation::NoHost),
        _ => return Err(Violation::TwoHosts),
    }
    match (length, chunked) {
        (Some(_), true) => Err(Violation::TwoLengths),
        (None, true) => Ok(Length::Chunked),
        (length, false) => Ok(Length::Sized(length.unwrap_or(0))),
    }
}

/// The first line without its end, and what follows it.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let lf = memchr(b'\n', bytes).ok_or(Violation::LineEnd)?;
    let (line, behind) = (&bytes[..lf], &bytes[lf + 1..]);
    Ok((line.strip_suffix(b"\r").ok_or(Violation::LineEnd)?, behind))
}

/// What is wrong with a line in which `violation` was found, as it is where there is a CR in its midst.
fn in_line(line: &[u8], violation: Violation) -> Violation {
    if memchr(b'\r', line).is_some() { Violation::LineEnd } else { violation }
}

/// Checks the request line. Returns whether it is of HTTP/1.1.
fn request_line(line: &[u8]) -> Result<bool, Violation> {
    if !every(line, |byte| (b' '..0x7f).contains(&byte)) {
        return Err(Violation::Control);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Violation::RequestLine);
    };
    if method.is_empty() || !every(method, is_token) || target.is_empty() {
        return Err(Violation::RequestLine);
    }
    if !has_one_reading(target) && method != b"CONNECT" {
        return Err(Violation::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ if version.starts_with(b"HTTP/") => Err(Violation::Version),
        _ => Err(Violation::RequestLine),
    }
}

/// Whether a target is a path, `*`, or an address with its scheme, without what some cut off (a fragment) and others keep,
/// and without what has no place in one (RFC 3986, appendix A). Browsers send more in a query than that has there, which is
/// taken.
fn has_one_reading(target: &[u8]) -> bool {
    let is_known = target[0] == b'/' || target == b"*" || memmem::find(target, b"://").is_some();
    let path = &target[..memchr(b'?', target).unwrap_or(target.len())];
    is_known && memchr3(b'#', b'<', b'>', target).is_none() && memchr(b'`', path).is_none()
}

/// Name and value of a field.
fn field_of(field: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if matches!(field[0], b' ' | b'\t') {
        return Err(Violation::Folded);
    }
    let colon = memchr(b':', field).ok_or(Violation::FieldName)?;
    let (name, value) = (&field[..colon], &field[colon + 1..]);
    if name.is_empty() || !every(name, is_token) {
        return Err(Violation::FieldName);
    }
    if !every(value, |byte| (byte >= b' ' || byte == b'\t') & (byte != 0x7f)) {
        return Err(Violation::Control);
    }
    Ok((name, value.trim_ascii()))
}

/// Whether each byte is so. All of them are asked: without an end before the last, several are asked at once.
fn every(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &byte| all & is_so(byte))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let (mut token, mut byte) = ([false; 256], 0);
        while byte < token.len() {
            token[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let (others, mut at) = (b"!#$%&'*+-.^_`|~", 0);
        while at < others.len() {
            token[others[at] as usize] = true;
            at += 1;
        }
        token
    };
    TOKEN[usize::from(byte)]
}

fn number(value: &[u8]) -> Option<u64> {
    let is_plain = !value.is_empty() && value.len() <= LENGTH_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    is_plain.then(|| value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { line_bytes_max: 40, bytes_max: 200, fields_max: 4 };

    /// Heads, bodies and what is skipped, adjacent pieces of a body as one, and what ended it.
    fn read(bytes: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Vec<Step>, Option<Violation>) {
        let mut framing = Framing::new(LIMITS);
        let (mut steps, mut begin) = (Vec::new(), 0);
        for end in pieces.into_iter().chain([bytes.len()]) {
            loop {
                match framing.next(&bytes[begin..end]) {
                    Err(violation) => return (steps, Some(violation)),
                    Ok(Step::More) => break,
                    Ok(step) => {
                        begin += match step {
                            Step::Head(count) | Step::Body(count) | Step::Skip(count) => count,
                            Step::More => 0,
                        };
                        match (steps.last_mut(), step) {
                            (Some(Step::Body(sum)), Step::Body(count)) => *sum += count,
                            (_, step) => steps.push(step),
                        }
                    }
                }
            }
        }
        (steps, None)
    }

    fn ended(bytes: &[u8]) -> Option<Violation> {
        read(bytes, []).1
    }

    #[test]
    fn every_split_is_read_alike() {
        let wires: [&[u8]; 5] = [
            b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost:a\r\ncontent-length: 5\r\n\r\nhello\r\nGET / HTTP/1.0\r\n\r\n",
            b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            b"PUT /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\n\r\n",
            b"GET / HTTP/1.1\nhost: a\n\n",
        ];
        for wire in wires {
            let whole = read(wire, []);
            for first in 0..wire.len() {
                assert_eq!(read(wire, [first]).1, whole.1, "{first}");
                for second in first..wire.len() {
                    let split = read(wire, [first, second]);
                    if whole.1.is_none() {
                        assert_eq!(split, whole, "{first} {second}");
                    }
                }
            }
            assert_eq!(read(wire, 1..wire.len()).1, whole.1);
        }
        let (steps, end) = read(wires[0], []);
        assert_eq!(end, None);
        let expected = [Step::Head(28), Step::Head(47), Step::Body(5), Step::Skip(2), Step::Head(18)];
        assert_eq!(steps, expected);
        let (steps, end) = read(wires[1], []);
        assert_eq!((&steps[1], steps.len(), end), (&Step::Body(10 + 32 + 5), 3, None));
    }

    #[test]
    fn whatever_two_readers_could_take_differently_is_refused() {
        let head = |fields: &str| format!("POST /a HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n").into_bytes();
        for (fields, violation) in [
            ("content-length: 5\r\ntransfer-encoding: chunked", Violation::TwoLengths),
            ("transfer-encoding: chunked\r\ncontent-length: 5", Violation::TwoLengths),
            ("content-length: 5\r\ncontent-length: 5", Violation::Length),
            ("content-length: 5, 5", Violation::Length),
            ("content-length: +5", Violation::Length),
            ("content-length: -1", Violation::Length),
            ("content-length: 0x5", Violation::Length),
            ("content-length:", Violation::Length),
            ("content-length: 1234567890123456789", Violation::Length),
            ("transfer-encoding: gzip, chunked", Violation::Coding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Violation::Coding),
            ("transfer-encoding: identity", Violation::Coding),
            ("transfer-encoding: \u{b}chunked", Violation::Control),
            ("transfer-encoding : chunked", Violation::FieldName),
            ("content-length : 5", Violation::FieldName),
            (" content-length: 5", Violation::Folded),
            ("x: a\r\n b", Violation::Folded),
            ("x: a\r\n\tb", Violation::Folded),
            ("x: a\nb: c", Violation::LineEnd),
            ("x: a\rb: c", Violation::LineEnd),
            ("x: a\0", Violation::Control),
            ("x: a\u{7f}", Violation::Control),
            ("x", Violation::FieldName),
            (": a", Violation::FieldName),
            ("x(y): a", Violation::FieldName),
            ("host: b", Violation::TwoHosts),
            ("Host: a", Violation::TwoHosts),
            ("a: 1\r\nb: 2\r\nc: 3\r\nd: 4", Violation::TooManyFields(4)),
        ] {
            assert_eq!(ended(&head(fields)), Some(violation), "{fields:?}");
        }
        for (first, violation) in [
            ("GET /a#b HTTP/1.1", Violation::Target),
            ("GET /a?b#c HTTP/1.1", Violation::Target),
            ("GET /<a> HTTP/1.1", Violation::Target),
            ("GET /a`b HTTP/1.1", Violation::Target),
            ("GET a/b HTTP/1.1", Violation::Target),
            ("GET ** HTTP/1.1", Violation::Target),
            ("GET  / HTTP/1.1", Violation::RequestLine),
            (" GET / HTTP/1.1", Violation::RequestLine),
            ("GET / HTTP/1.1 ", Violation::RequestLine),
            ("GET /a b HTTP/1.1", Violation::RequestLine),
            ("GET /\tHTTP/1.1", Violation::Control),
            ("GET /\0 HTTP/1.1", Violation::Control),
            ("GET /é HTTP/1.1", Violation::Control),
            ("GET /", Violation::RequestLine),
            ("G(T / HTTP/1.1", Violation::RequestLine),
            ("GET / HTTP/2.0", Violation::Version),
            ("GET / HTTP/1.1\u{b}", Violation::Control),
            ("GET / http/1.1", Violation::RequestLine),
            ("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1", Violation::LineTooLong(40)),
        ] {
            assert_eq!(ended(format!("{first}\r\nhost: a\r\n\r\n").as_bytes()), Some(violation), "{first:?}");
        }
        assert_eq!(ended(b"GET / HTTP/1.1\r\n\r\n"), Some(Violation::NoHost));
        assert_eq!(ended(b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), Some(Violation::RequestLine));
        assert_eq!(ended(b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), Some(Violation::LineEnd));
        let chunks = |chunks: &str| {
            ended(format!("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").as_bytes())
        };
        for wrong in [
            "5;x=y\r\nhello\r\n",
            "5 \r\nhello\r\n",
            " 5\r\n",
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "0\r\nx: y\r\n\r\n",
            "0\r\n\n",
            "-5\r\n",
            "0x5\r\n",
            "1000000000000000\r\n",
            "g\r\n",
        ] {
            assert_eq!(chunks(wrong), Some(Violation::Chunk), "{wrong:?}");
        }
    }

    #[test]
    fn what_never_ends_is_refused_as_soon_as_it_is_too_long() {
        let endless = |begin: &str, bytes: usize| [begin.as_bytes(), &vec![b'a'; bytes]].concat();
        assert_eq!(ended(&endless("GET /", 34)), None);
        assert_eq!(ended(&endless("GET /", 37)), Some(Violation::LineTooLong(40)));
        assert_eq!(ended(&endless("GET / HTTP/1.1\r\nhost: ", 178)), None);
        assert_eq!(ended(&endless("GET / HTTP/1.1\r\nhost: ", 179)), Some(Violation::HeadTooLong(200)));
    }

    #[test]
    fn tells_where_a_connection_stands() {
        let mut framing = Framing::new(LIMITS);
        assert!(framing.is_in_head());
        assert_eq!(framing.next(b"GET /"), Ok(Step::More));
        assert!(framing.is_in_head());
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nxx";
        assert_eq!(framing.next(head), Ok(Step::Head(head.len() - 2)));
        assert!(!framing.is_in_head());
        assert_eq!(framing.next(b"xx"), Ok(Step::Body(2)));
        assert!(framing.is_in_head());
    }
}
