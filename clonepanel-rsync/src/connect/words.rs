//! [`Words`]: what a login says on its standard error while it lasts.

use crate::messages::{Messages, Severity};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What was said so far, for those who ask while somebody listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Mutex<Messages>>);

impl Words {
    /// All of it, escaped, one line each.
    pub(super) fn text(&self) -> String {
        self.lock().text()
    }

    /// The line that says best what was wrong last.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().reason()
    }

    pub(super) fn add(&self, line: &str) {
        let mut messages = self.lock();
        messages.feed(line.as_bytes());
        messages.end_line(Severity::Other);
    }

    /// Takes all that comes, so that who says it never waits.
    pub(super) async fn listen(self, mut errors: impl AsyncRead + Unpin) {
        let mut piece = [0; 4096];
        // What cannot be read says nothing.
        while let Ok(len @ 1..) = errors.read(&mut piece).await {
            self.lock().feed(&piece[..len]);
        }
        self.lock().end_line(Severity::Other);
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_said_last_can_be_asked_for() {
        let words = Words::default();
        assert_eq!(words.last(), None);
        words.clone().listen(&b"first\r\n\x1b[2Jsecond\n\nthird"[..]).await;
        assert_eq!(words.last().as_deref(), Some("third"));
        assert!(words.text().starts_with("first\n") && !words.text().contains('\x1b'), "{}", words.text());
        words.add("fourth");
        assert_eq!(words.last().as_deref(), Some("fourth"));
    }
}
