//! [`Words`]: what a login says on its standard error while it lasts.

use clonepanel_core::escape::Escaped;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// So much of it is kept, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// What was said so far: escaped lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Mutex<String>>);

impl Words {
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn last(&self) -> Option<String> {
        self.text().lines().rfind(|line| !line.is_empty()).map(str::to_owned)
    }

    pub(super) fn add(&self, line: &[u8]) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&Escaped(line.trim_ascii()).to_string());
        text.push('\n');
        // The last words say why it ended.
        if text.len() > MAX_TEXT {
            let from = text.ceil_char_boundary(text.len() - MAX_TEXT / 2);
            text.drain(..from);
        }
    }

    /// Takes all that comes, so that who says it never waits.
    pub(super) async fn listen(self, mut errors: impl AsyncRead + Unpin) {
        let (mut piece, mut line) = ([0; 4096], Vec::new());
        // What cannot be read says nothing.
        while let Ok(len @ 1..) = errors.read(&mut piece).await {
            for part in piece[..len].split_inclusive(|&b| b == b'\n') {
                line.extend_from_slice(part);
                if part.ends_with(b"\n") || line.len() > MAX_TEXT {
                    self.add(&std::mem::take(&mut line));
                }
            }
        }
        if !line.is_empty() {
            self.add(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let words = Words::default();
        assert_eq!(words.last(), None);
        words.clone().listen(&b"first\r\n\x1b[2Jsecond\n\nthird"[..]).await;
        assert_eq!(words.last().as_deref(), Some("third"));
        assert!(words.text().starts_with("first\n") && !words.text().contains('\x1b'), "{}", words.text());
        let many: Vec<u8> = (0..100_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect();
        words.clone().listen(&many[..]).await;
        assert!(words.text().len() <= MAX_TEXT);
        assert_eq!(words.last().as_deref(), Some("line 99999"));
        words.clone().listen(&vec![b'x'; 1 << 20][..]).await;
        assert!(words.text().len() <= 2 * MAX_TEXT);
    }
}
