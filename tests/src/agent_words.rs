//! [`AgentWords`]: what either end of the agent protocol may say, put together byte by byte after `docs/agent-protocol.md`, so that a
//! test can say what no honest end would.

/// A stream of frames.
#[derive(Debug, Clone, Default)]
pub struct AgentWords(Vec<u8>);

impl AgentWords {
    /// The beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self(b"\0ClonePanelAgent".to_vec())
    }

    /// A frame of any kind.
    ///
    /// # Panics
    /// When it is too long for any frame.
    #[must_use]
    pub fn frame(mut self, kind: u8, body: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend_from_slice(&u32::try_from(body.len()).expect("a short frame").to_le_bytes());
        self.0.extend_from_slice(body);
        self
    }

    /// Version 1, no features.
    #[must_use]
    pub fn hello(self) -> Self {
        self.frame(1, b"\x01\x01\x00\x04liar")
    }

    /// A request to read everything below `root`.
    #[must_use]
    pub fn pull(self, root: &[u8]) -> Self {
        let mut body = vec![1];
        put_bytes(&mut body, root);
        body.extend_from_slice(&[0, 0, 0]);
        self.frame(2, &body)
    }

    /// A request to write below `root` and delete nothing.
    #[must_use]
    pub fn push(self, root: &[u8]) -> Self {
        let mut body = vec![2];
        put_bytes(&mut body, root);
        // No paths, no rules, no deletion.
        body.extend_from_slice(&[0, 0, 0]);
        self.frame(2, &body)
    }

    /// The request is accepted, at the beginning of 1970.
    #[must_use]
    pub fn ready(self) -> Self {
        self.frame(3, &[0, 0, 0])
    }

    /// The root and these entries: `d`irectories, empty `f`iles and `l`inks to `/tmp`.
    #[must_use]
    pub fn list(self, entries: &[(&[u8], u8)]) -> Self {
        let mut body = vec![0];
        for (path, kind) in [(&b""[..], b'd')].iter().chain(entries) {
            body.push(match kind {
                b'd' => 1,
                b'f' => 2,
                _ => 4,
            });
            body.push(0);
            put_bytes(&mut body, path);
            // Mode 0755, owner and group 0 without names, the beginning of 1970, nothing known of changes.
            body.extend_from_slice(&[0xed, 3, 0, 0, 0, 0, 0, 0, 0]);
            match kind {
                b'd' => {}
                b'f' => body.push(0),
                _ => put_bytes(&mut body, b"/tmp"),
            }
        }
        self.frame(16, &body)
    }

    /// The listing ends.
    #[must_use]
    pub fn listed(self) -> Self {
        self.frame(17, &[])
    }

    /// Content `id` is asked for as a whole.
    #[must_use]
    pub fn ask(self, id: u8, path: &[u8]) -> Self {
        let mut body = vec![id];
        put_bytes(&mut body, path);
        body.push(0);
        self.frame(34, &body)
    }

    /// The last and only window of content `id`, with a hash that may be wrong.
    #[must_use]
    pub fn window(self, id: u8, content: &[u8], hash: [u8; 32]) -> Self {
        let mut body = vec![id, 2, 0];
        put_number(&mut body, content.len());
        body.extend_from_slice(&hash);
        body.push(0);
        body.extend_from_slice(content);
        self.frame(18, &body)
    }

    /// Everything that was put together.
    #[must_use]
    pub fn said(self) -> Vec<u8> {
        self.0
    }
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}
