//! [`PageExpectation`]: what a page should be, whoever gets it.

use clonepanel_core::health::Class;
use reqwest::Url;
use std::time::Duration;

/// What a page should be. It says what an answer means; [`HttpProbe`](super::HttpProbe) gets one, and so may a `curl` on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageExpectation {
    status: u16,
    body: Option<String>,
    slow: Option<Duration>,
}

impl Default for PageExpectation {
    fn default() -> Self {
        Self::new()
    }
}

impl PageExpectation {
    /// How often a page may lead to another one of the same host.
    pub const REDIRECTS: usize = 5;
    /// So much of a page is read, in bytes; the text that is looked for stands in it.
    pub const MAX_BODY: usize = 1 << 20;

    /// Any page, with status 200.
    #[must_use]
    pub const fn new() -> Self {
        Self { status: 200, body: None, slow: None }
    }

    /// This status instead.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With this text somewhere in the first MiB.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// A good answer that takes longer is [`Class::Slow`].
    #[must_use]
    pub const fn slow(mut self, after: Duration) -> Self {
        self.slow = Some(after);
        self
    }

    /// What an answer means, and a line about it.
    #[must_use]
    pub fn judge(&self, status: u16, page: &[u8], took: Duration) -> (Class, String) {
        if status != self.status {
            // The last one is LiteSpeed's and CloudLinux's: the account has used up its share.
            let class = if matches!(status, 429 | 503 | 508) { Class::Overload } else { Class::WrongStatus };
            return (class, format!("status {status} instead of {}", self.status));
        }
        if let Some(text) = self.body.as_ref().filter(|text| !contains(page, text.as_bytes())) {
            return (Class::WrongContent, format!("a page without {text:?}"));
        }
        let class = if self.slow.is_some_and(|slow| took > slow) { Class::Slow } else { Class::Good };
        (class, format!("status {status}"))
    }

    /// The page that an answer leads to, if it is to be asked for: one of the same host, unless the answer is what is expected.
    #[must_use]
    pub fn next(&self, from: &str, status: u16, location: &str) -> Option<String> {
        if status == self.status || !(300..400).contains(&status) {
            return None;
        }
        let from = Url::parse(from).ok()?;
        let there = from.join(location).ok()?;
        let is_ours = there.host_str() == from.host_str() && matches!(there.scheme(), "http" | "https");
        is_ours.then(|| there.into())
    }

    /// What it means when pages lead on and on.
    #[must_use]
    pub fn endless() -> (Class, String) {
        (Class::WrongStatus, format!("it leads on and on, more than {} times", Self::REDIRECTS))
    }
}

fn contains(page: &[u8], text: &[u8]) -> bool {
    text.is_empty() || page.windows(text.len()).any(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_host_are_followed() {
        let page = PageExpectation::new();
        let next = |status, location| page.next("http://example.org:81/a/", status, location);
        assert_eq!(next(302, "b").as_deref(), Some("http://example.org:81/a/b"));
        assert_eq!(next(301, "https://example.org/").as_deref(), Some("https://example.org/"));
        for (status, location) in
            [(200, "b"), (404, "b"), (302, "https://example.net/"), (302, "ftp://example.org/"), (302, "http://[")]
        {
            assert_eq!(next(status, location), None, "{status} {location}");
        }
        assert_eq!(page.clone().status(302).next("http://example.org/", 302, "b"), None);
    }
}
