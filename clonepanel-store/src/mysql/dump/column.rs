//! [`Column`]: a column as it is read and written.

use super::super::format::{charset::Charset, literal::Form, name::quote};

/// A column whose values are dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// What is asked for.
    pub(crate) expression: String,
    pub(crate) form: Form,
    /// Whether its values are compared as a literal of the same form would be, so that a key can be followed with it.
    pub(crate) is_comparable: bool,
}

/// What the catalogue says about a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnFacts<'a> {
    pub(crate) name: &'a str,
    /// `DATA_TYPE`.
    pub(crate) data_type: &'a str,
    /// `COLUMN_TYPE`.
    pub(crate) column_type: &'a str,
    /// `CHARACTER_SET_NAME`, or empty.
    pub(crate) charset: &'a str,
    /// `EXTRA`.
    pub(crate) extra: &'a str,
}

impl ColumnFacts<'_> {
    /// Whether the server computes its values, so that they cannot be written.
    pub(crate) fn is_generated(&self) -> bool {
        let extra = self.extra.to_ascii_uppercase();
        ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT"].iter().any(|word| extra.contains(word))
    }

    /// How it is read and written; `None` when the answer of the server makes no sense.
    pub(crate) fn column(&self) -> Option<Column> {
        let quoted = quote(self.name);
        let charset = || Charset::named(if self.charset.is_empty() { "utf8mb4" } else { self.charset });
        let (expression, form, is_comparable) = match self.data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal" | "numeric" | "year" => {
                (quoted, Form::Number, true)
            }
            // As a double it is printed with all its digits; multiplied, a negative zero stays one.
            "float" | "double" | "real" => (format!("{quoted}*1e0"), Form::Float, false),
            "date" | "datetime" | "timestamp" | "time" | "uuid" | "inet4" | "inet6" => (quoted, Form::Plain, true),
            // An invalid value reads as an empty word; where that is a word of its own, only numbers tell them apart.
            "enum" if self.has_empty_word() => (format!("{quoted}+0"), Form::Number, false),
            "enum" | "set" => (quoted, Form::Enumerated(charset()?), false),
            "char" | "varchar" => (quoted, Form::Text(charset()?), true),
            "tinytext" | "text" | "mediumtext" | "longtext" | "json" => (quoted, Form::Text(charset()?), false),
            "binary" | "varbinary" => (quoted, Form::Binary, true),
            _ if self.charset.is_empty() => (quoted, Form::Binary, false),
            _ => (quoted, Form::Text(charset()?), false),
        };
        Some(Column { name: self.name.to_owned(), expression, form, is_comparable })
    }

    fn has_empty_word(&self) -> bool {
        ["('',", ",'',", ",'')", "('')"].iter().any(|part| self.column_type.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(data_type: &'a str, column_type: &'a str, charset: &'a str, extra: &'a str) -> ColumnFacts<'a> {
        ColumnFacts { name: "a`b", data_type, column_type, charset, extra }
    }

    #[test]
    fn expression_defaults_are_not_generated() {
        for (extra, generated) in [
            ("", false),
            ("DEFAULT_GENERATED", false),
            ("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", false),
            ("on update current_timestamp()", false),
            ("INVISIBLE", false),
            ("VIRTUAL GENERATED", true),
            ("STORED GENERATED, INVISIBLE", true),
            ("STORED GENERATED", true),
        ] {
            assert_eq!(facts("int", "int", "", extra).is_generated(), generated, "{extra}");
        }
    }

    #[test]
    fn every_type_has_a_form() {
        let utf8 = || Charset::named("utf8mb4").unwrap();
        for (data_type, column_type, charset, form, expression) in [
            ("bigint", "bigint(20)", "", Form::Number, "`a``b`"),
            ("float", "float", "", Form::Float, "`a``b`*1e0"),
            ("enum", "enum('a','b')", "utf8mb4", Form::Enumerated(utf8()), "`a``b`"),
            ("enum", "enum('a','')", "utf8mb4", Form::Number, "`a``b`+0"),
            ("json", "json", "", Form::Text(utf8()), "`a``b`"),
            ("geometry", "geometry", "", Form::Binary, "`a``b`"),
            ("bit", "bit(9)", "", Form::Binary, "`a``b`"),
            ("xmltype", "xmltype", "utf8mb4", Form::Text(utf8()), "`a``b`"),
        ] {
            let column = facts(data_type, column_type, charset, "").column().unwrap();
            assert_eq!((column.form, column.expression.as_str()), (form, expression));
        }
        assert_eq!(facts("text", "text", "x'y", "").column(), None);
    }
}
