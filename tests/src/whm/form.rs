//! Forms as the server reads them: decoded exactly once, values as octets, three kinds of lists.

/// Names and values in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, Vec<u8>)>);

impl Form {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (text_of(k), decode(v)))
                .collect(),
        )
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    /// `name=..&name=..`, `name-0=..&name-1=..` and `name=..&name-1=..`.
    pub(super) fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let is_numbered = |key: &str| {
            let number = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.0.iter().filter(|(key, _)| key == name || is_numbered(key)).map(|(_, value)| value.clone()).collect()
    }
}

fn text_of(text: &str) -> String {
    String::from_utf8_lossy(&decode(text)).into_owned()
}

fn decode(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let hex = rest.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (byte, hex) {
            (b'+', _) => octets.push(b' '),
            (b'%', Some(octet)) => {
                octets.push(octet);
                rest = &rest[2..];
            }
            (byte, _) => octets.push(byte),
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_once() {
        let form = Form::parse("a=A+B&b=A%2BB&c=50%2525off&d=%ff");
        assert_eq!(form.text("a").as_deref(), Some("A B"));
        assert_eq!(form.text("b").as_deref(), Some("A+B"));
        assert_eq!(form.text("c").as_deref(), Some("50%25off"));
        assert_eq!(form.list("d"), [vec![255]]);
    }

    #[test]
    fn lists_come_in_three_forms() {
        for text in ["x=1&x=2", "x-0=1&x-1=2", "x=1&x-1=2"] {
            assert_eq!(Form::parse(text).list("x"), [b"1", b"2"], "{text}");
        }
        assert_eq!(Form::parse("x-y=1&xx=2&x-=3").list("x"), Vec::<Vec<u8>>::new());
    }
}
