//! How HTTP/2 frames what a client sends (RFC 9113, section 4): enough of it to tell whether something was begun and is
//! not whole. What the frames mean is the business of the library that gets them.

/// What every connection of HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where one direction of a connection is in its sequence of frames.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface still to come.
    preface: usize,
    /// The head of the frame that was begun last.
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of a frame's head that are there.
    filled: usize,
    /// Bytes of its content still to come.
    left: usize,
    /// Within a block of fields that further frames go on with.
    in_fields: bool,
}

/// What was seen in some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The head of a block of fields: a request, from a client.
    pub(super) fields: bool,
    /// Anything of a body's content.
    pub(super) data: bool,
}

impl Frames {
    /// What a client sends.
    pub(super) fn of_client() -> Self {
        Self { preface: PREFACE.len(), ..Self::of_server() }
    }

    /// What a server sends.
    pub(super) fn of_server() -> Self {
        Self { preface: 0, head: [0; FRAME_HEAD_BYTES], filled: 0, left: 0, in_fields: false }
    }

    /// Looks at bytes that came, or went.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.left > 0 {
                seen.data |= self.head[3] == DATA;
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let count = (FRAME_HEAD_BYTES - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
            if self.filled == FRAME_HEAD_BYTES {
                self.filled = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.in_fields = flags & END_HEADERS == 0;
                }
                seen.fields |= kind == HEADERS;
            }
        }
        seen
    }

    /// Whether nothing was begun that is not whole.
    pub(super) fn is_between_frames(&self) -> bool {
        self.preface == 0 && self.filled == 0 && self.left == 0 && !self.in_fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = [(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        [&head, content].concat()
    }

    #[test]
    fn is_between_frames_only_behind_whole_ones() {
        let (settings, headers) = (frame(4, 0, b""), frame(HEADERS, 0, &[7; 300]));
        let (more, last) = (frame(CONTINUATION, 0, b"x"), frame(CONTINUATION, END_HEADERS, b""));
        let data = frame(0, 0, &[END_HEADERS; 20]);
        let wire = [PREFACE, &settings, &headers, &more, &last, &data].concat();
        let begin = PREFACE.len();
        let fields = begin + settings.len();
        let whole = [begin, fields, wire.len() - data.len(), wire.len()];
        for end in 0..=wire.len() {
            for step in [1, 2, 7, end.max(1)] {
                let mut frames = Frames::of_client();
                wire[..end].chunks(step).for_each(|piece| {
                    frames.see(piece);
                });
                assert_eq!(frames.is_between_frames(), whole.contains(&end), "{end} by {step}");
            }
        }
    }

    #[test]
    fn tells_requests_and_content_from_what_only_keeps_a_connection_busy() {
        let mut frames = Frames::of_client();
        let mut seen = |bytes: &[u8]| {
            let Seen { fields, data } = frames.see(bytes);
            (fields, data)
        };
        assert_eq!(seen(&[PREFACE, &frame(4, 0, b"")].concat()), (false, false));
        assert_eq!(seen(&frame(6, 0, b"12345678")), (false, false), "a PING");
        assert_eq!(seen(&frame(HEADERS, END_HEADERS, &[7; 30])), (true, false));
        assert_eq!(seen(&frame(CONTINUATION, END_HEADERS, b"x")), (false, false));
        assert_eq!(seen(&frame(DATA, 0, b"")), (false, false), "nothing in it");
        let content = frame(DATA, 0, b"abc");
        assert_eq!(seen(&content[..9]), (false, false));
        assert_eq!(seen(&content[9..]), (false, true));
        assert_eq!(seen(&frame(8, 0, b"1234")), (false, false), "a WINDOW_UPDATE");
    }
}
