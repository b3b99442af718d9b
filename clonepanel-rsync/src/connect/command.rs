//! [`RemoteCommand`]: the words of a command, and how a login shell gets them.

/// A program and its arguments, each a string of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCommand {
    words: Vec<Vec<u8>>,
}

impl RemoteCommand {
    /// A command of these words, the program first.
    #[must_use]
    pub const fn new(words: Vec<Vec<u8>>) -> Self {
        Self { words }
    }

    /// A script for the POSIX shell.
    #[must_use]
    pub fn script(text: Vec<u8>) -> Self {
        Self { words: vec![b"sh".to_vec(), b"-c".to_vec(), text] }
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    /// One line that a login shell takes apart into exactly these words.
    #[must_use]
    pub fn shell_line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        for word in &self.words {
            if !line.is_empty() {
                line.push(b' ');
            }
            quote_into(word, &mut line);
        }
        line
    }
}

/// Appends a word so that a shell takes it literally: in single quotes, where only the quote itself needs another
/// way, and for csh the exclamation mark, for fish the backslash.
pub(crate) fn quote_into(word: &[u8], line: &mut Vec<u8>) {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./,:=@%+".contains(b);
    if !word.is_empty() && word.iter().all(is_plain) {
        line.extend_from_slice(word);
        return;
    }
    line.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' | b'!' | b'\\' => line.extend_from_slice(&[b'\'', b'\\', byte, b'\'']),
            _ => line.push(byte),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_shell_gives_the_words_back() {
        let words: Vec<Vec<u8>> =
            [&b"printf"[..], b"%s\\n", b"a b", b"it's", b"$HOME `x` \"!\" *", b"", b"-n", b"\xff\xfe", b"a\\b"]
                .map(<[u8]>::to_vec)
                .to_vec();
        use std::os::unix::ffi::OsStringExt;
        let line = std::ffi::OsString::from_vec(RemoteCommand::new(words.clone()).shell_line());
        let output = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
        let expected: Vec<u8> = words[2..].iter().flat_map(|word| [&word[..], b"\n"].concat()).collect();
        assert_eq!(output.stdout, expected);
    }
}
