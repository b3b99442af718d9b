//! Sums over rows that a server can be asked for.
//!
//! A row's hash is the first 64 bits of the SHA-256 of its values as they are sent: numbers and times with a comma behind, everything
//! else with its length in front, `N` for `NULL`. A range's sum is the exclusive or of them: rows with a key are all different, so none
//! cancels another out. The values are taken as bytes, so no collation and no character set comes in between.

use super::{super::format::literal::Form, column::Column};
use crate::mysql::session::bytes;
use mysql_async::Value;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// The hash of a row, as [`expression`] has it.
pub(crate) fn hash(columns: &[Column], values: &[Value]) -> u64 {
    let mut sha = Sha256::new();
    for (column, value) in columns.iter().zip(values) {
        let value = bytes(value);
        match value {
            Some(bytes) if is_short(column) => sha.update(bytes),
            Some(bytes) => {
                // Hashing cannot fail.
                let _ = write!(sha, "{}:", bytes.len());
                sha.update(bytes);
            }
            None => sha.update("N"),
        }
        if is_short(column) {
            sha.update(",");
        }
    }
    sha.finalize().first_chunk().map_or(0, |half| u64::from_be_bytes(*half))
}

/// What makes a server count rows and sum up their hashes.
///
/// A row that is longer than the server's longest packet has no hash there, and then its range never has the sum that we have of it: what is
/// joined is `NULL` then, which must not be taken for a value that is.
pub(crate) fn expression(columns: &[Column]) -> String {
    // Joined with bytes, texts are bytes: nothing is converted.
    const BYTES: &str = "CAST('' AS BINARY)";
    let values = columns.iter().map(|column| {
        let value = &column.expression;
        if is_short(column) {
            // As a string first: an address or a UUID cannot be an `N`.
            format!("IF({value} IS NULL,'N',CONCAT({value})),','")
        } else {
            format!("IF({value} IS NULL,'N',CONCAT({BYTES},LENGTH({value}),':',{value}))")
        }
    });
    let values: Vec<_> = values.collect();
    let row = format!("CONCAT({BYTES},{})", values.join(","));
    // SHA-256 is computed by the processor itself in many places, where it is several times as fast as MD5.
    format!("COUNT(*),BIT_XOR(CAST(CONV(LEFT(SHA2({row},256),16),16,10) AS UNSIGNED))")
}

/// Whether its values have no comma in them and are never an `N`.
const fn is_short(column: &Column) -> bool {
    matches!(column.form, Form::Float | Form::Number | Form::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn values_do_not_run_into_each_other() {
        let column = |form| Column { name: "a".to_owned(), expression: "`a`".to_owned(), form, is_comparable: true };
        let value = |text: &str| Value::Bytes(text.into());
        let text = [column(Form::Binary), column(Form::Binary)];
        let number = [column(Form::Number), column(Form::Number)];
        let hashes = [
            hash(&text, &[value("ab"), value("c")]),
            hash(&text, &[value("a"), value("bc")]),
            hash(&text, &[value("abc"), value("")]),
            hash(&text, &[value("abc"), Value::NULL]),
            hash(&text, &[Value::NULL, value("abc")]),
            hash(&text, &[value("N"), Value::NULL]),
            hash(&text, &[Value::NULL, Value::NULL]),
            hash(&number, &[value("12"), value("3")]),
            hash(&number, &[value("1"), value("23")]),
            hash(&number, &[value("123"), Value::NULL]),
        ];
        assert_eq!(HashSet::from(hashes).len(), hashes.len());
        // The SHA-256 of `2:ab1:c` and of `12,3,`, by another program.
        assert_eq!((hashes[0], hashes[7]), (0x430f_b1b4_ac43_316e, 0x416b_160a_fd9e_e265));
    }
}
