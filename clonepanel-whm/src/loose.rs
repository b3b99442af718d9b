//! Reading JSON whose types are loose: numbers as text, booleans as numbers, lists that are `null` or missing.

use serde_json::Value;

/// Text, also of a number.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, also as text.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whether something is 1, `"1"` or true.
pub(crate) fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || number(value) == Some(1)
}

/// A list that may be missing or `null`, or a single object in its place.
pub(crate) fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(items)) => items,
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => &[],
    }
}

/// Strings that may come as a list, as one text with a line each, or not at all.
pub(crate) fn lines(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
        Some(Value::String(lines)) => lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_type_a_field_has_it_is_read() {
        assert_eq!([json!("2026070300"), json!(2026070300)].map(|v| number(&v)), [Some(2026070300); 2]);
        assert_eq!([json!(null), json!(-1), json!(1.5), json!("x"), json!([])].map(|v| number(&v)), [None; 5]);
        assert_eq!([json!("a"), json!(7)].map(|v| text(&v)), [Some("a".into()), Some("7".into())]);
        assert_eq!([json!(1), json!("1"), json!(true)].map(|v| is_true(&v)), [true; 3]);
        assert_eq!([json!(0), json!("0"), json!(false), json!(null), json!(2)].map(|v| is_true(&v)), [false; 5]);
        assert_eq!(list(Some(&json!(null))), list(None));
        assert_eq!(list(Some(&json!({"a": 1}))), [json!({"a": 1})]);
        assert_eq!(lines(Some(&json!("a\nb\n"))), lines(Some(&json!(["a", "b"]))));
    }
}
