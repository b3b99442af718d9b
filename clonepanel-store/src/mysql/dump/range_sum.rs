//! Sums over rows that a server can be asked for.
//!
//! A row's hash is the upper half of the MD5 of its values as they are sent, each with its length in front, `N` for `NULL`; a range's
//! sum is the exclusive or of them: rows with a key are all different, so none cancels another out. The values are taken as bytes, so
//! no collation and no character set comes in between. It tells accidents and edits apart, not what somebody puts there who has two
//! values of the same MD5.

use super::column::Column;
use crate::mysql::session::bytes;
use md5::{Digest as _, Md5};
use mysql_async::Value;

/// The hash of a row, as [`expression`] has it.
pub(crate) fn hash(values: &[Value]) -> u64 {
    let mut md5 = Md5::new();
    for value in values {
        match bytes(value) {
            Some(bytes) => {
                md5.update(format!("{}:", bytes.len()));
                md5.update(bytes);
            }
            None => md5.update("N"),
        }
    }
    md5.finalize().first_chunk().map_or(0, |half| u64::from_be_bytes(*half))
}

/// What makes a server count rows and sum up their hashes.
///
/// A row that is longer than the server's longest packet has no hash there, and then its range never has the sum that we have of it.
pub(crate) fn expression(columns: &[Column]) -> String {
    let values = columns.iter().map(|column| {
        let value = format!("CAST({} AS BINARY)", column.expression);
        format!("IFNULL(CONCAT(LENGTH({value}),':',{value}),'N')")
    });
    let values: Vec<_> = values.collect();
    format!("COUNT(*),BIT_XOR(CAST(CONV(LEFT(MD5(CONCAT({})),16),16,10) AS UNSIGNED))", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_run_into_each_other() {
        let text = |text: &str| Value::Bytes(text.into());
        let rows = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![text("abc"), text("")],
            vec![text("abc"), Value::NULL],
            vec![Value::NULL, text("abc")],
            vec![text("N"), Value::NULL],
            vec![Value::NULL, Value::NULL],
        ];
        let mut hashes: Vec<_> = rows.iter().map(|row| hash(row)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), rows.len());
        // MD5("2:ab1:c"), by another program.
        assert_eq!(hash(&rows[0]), 0x5688_1f02_774b_f192);
    }
}
