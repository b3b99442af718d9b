//! What a WHM server wraps its answers in: API 1, and the three wrappings of UAPI.

use crate::{
    error::{WhmError, quote},
    loose,
};
use reqwest::StatusCode;
use serde_json::Value;

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The function's own data; `null` when it has none.
    pub(crate) data: Value,
}

/// Why there is no [`Answer`].
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: WhmError,
    pub(crate) kind: Kind,
}

/// What a failure means for a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was not done.
    NotDone,
    /// The same, and the login was refused: trying that again gets an address blocked.
    LoginRefused,
    /// It may have been done.
    Unknown,
}

impl Failure {
    pub(crate) const fn not_done(error: WhmError) -> Self {
        Self { error, kind: Kind::NotDone }
    }

    pub(crate) const fn unknown(error: WhmError) -> Self {
        Self { error, kind: Kind::Unknown }
    }
}

/// Reads the answer to a function of API 1.
pub(crate) fn decode(function: &str, status: StatusCode, body: &[u8]) -> Result<Answer, Failure> {
    let parsed = parse(body);
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(denial(status, parsed.ok().as_ref(), body));
    }
    if status.is_redirection() {
        return Err(Failure::not_done(WhmError::Protocol {
            detail: format!("it sends us elsewhere ({}), which is not followed", status.as_u16()),
        }));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::not_done(WhmError::Busy { detail: "too many calls".to_owned() }));
    }
    if status.is_server_error() {
        let detail = format!("{}: {}", status.as_u16(), quote(body));
        return Err(Failure::unknown(WhmError::Failed { detail }));
    }
    let Value::Object(mut answer) =
        parsed.map_err(|detail| Failure::unknown(WhmError::Protocol { detail: format!("{function}: {detail}") }))?
    else {
        return Err(Failure::unknown(protocol(function, "not an object")));
    };
    let Some(metadata) = answer.get("metadata") else {
        let said = answer.get("error").and_then(Value::as_str).unwrap_or("no metadata");
        // API 0 says so with status 200 when it does not know a function.
        return Err(Failure::unknown(protocol(function, &quote(said.as_bytes()))));
    };
    let reason = metadata.get("reason").and_then(loose::text).unwrap_or_default();
    match metadata.get("result") {
        Some(result) if loose::is_true(result) => Ok(Answer { data: answer.remove("data").unwrap_or_default() }),
        Some(_) => Err(Failure::not_done(refusal(function, &reason))),
        None => Err(Failure::unknown(protocol(function, "no result"))),
    }
}

/// Reads the answer of a UAPI function, wherever it stands in `data`.
pub(crate) fn decode_account(function: &str, data: &Value) -> Result<Answer, Failure> {
    let candidates = [data.pointer("/uapi/result"), data.get("uapi"), data.get("result"), Some(data)];
    let inner = candidates.into_iter().flatten().find(|candidate| candidate.get("status").is_some());
    let inner = inner.ok_or_else(|| Failure::unknown(protocol(function, "no status")))?;
    let errors = loose::lines(inner.get("errors"));
    if !errors.is_empty() || !inner.get("status").is_some_and(loose::is_true) {
        return Err(Failure::not_done(refusal(function, &errors.join("; "))));
    }
    Ok(Answer { data: inner.get("data").cloned().unwrap_or_default() })
}

fn parse(body: &[u8]) -> Result<Value, String> {
    match body.trim_ascii_start().first() {
        None => Err("an empty answer".to_owned()),
        Some(b'{' | b'[') => serde_json::from_slice(body).map_err(|error| format!("broken JSON: {error}")),
        Some(_) => Err(format!("a page in place of JSON: {}", quote(body))),
    }
}

fn protocol(function: &str, what: &str) -> WhmError {
    WhmError::Protocol { detail: format!("{function}: {what}") }
}

fn refusal(function: &str, reason: &str) -> WhmError {
    let lower = reason.to_lowercase();
    if ["denied", "permission", "not have"].iter().any(|word| lower.contains(word)) {
        return WhmError::Denied { detail: format!("{function}: {}", quote(reason.as_bytes())) };
    }
    let reason = if reason.is_empty() { "no reason given".to_owned() } else { quote(reason.as_bytes()) };
    WhmError::Refused { function: function.to_owned(), reason }
}

/// Status 401 or 403: a login that is refused, or a privilege that is missing; only the latter has `metadata`.
fn denial(status: StatusCode, parsed: Option<&Value>, body: &[u8]) -> Failure {
    let reason = |pointer| parsed?.pointer(pointer).and_then(loose::text);
    if let Some(reason) = reason("/metadata/reason") {
        return Failure::not_done(WhmError::Denied { detail: quote(reason.as_bytes()) });
    }
    let said = reason("/cpanelresult/error").map_or_else(|| quote(body), |said| quote(said.as_bytes()));
    let detail = format!(
        "the login is refused ({}: {said}): check the user, the token, its expiry and the addresses that it is bound to",
        status.as_u16()
    );
    Failure { error: WhmError::Denied { detail }, kind: Kind::LoginRefused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(status: u16, body: &str) -> Failure {
        decode("f", StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn answers_are_taken_out_of_their_envelopes() {
        let body = json!({"metadata": {"version": 1, "result": "1", "reason": "OK"}, "data": {"zone": []}});
        let answer = decode("f", StatusCode::OK, body.to_string().as_bytes()).unwrap();
        assert_eq!(answer.data, json!({"zone": []}));
        let inner = json!({"status": 1, "data": 7, "errors": null});
        for data in [json!({"uapi": inner}), json!({"uapi": {"result": inner}}), json!({"result": inner}), inner] {
            assert_eq!(decode_account("M::f", &data).unwrap().data, json!(7), "{data}");
        }
    }

    #[test]
    fn a_failure_says_whether_something_may_have_been_done() {
        let denied = r#"{"cpanelresult":{"apiversion":"2","error":"Access denied","data":{"reason":"Access denied"}}}"#;
        for (failure, kind, said) in [
            (status(403, denied), Kind::LoginRefused, "403: Access denied"),
            (status(401, "<html>log in</html>"), Kind::LoginRefused, "401: <html>log in</html>"),
            (status(403, r#"{"metadata":{"result":0,"reason":"Permission denied"}}"#), Kind::NotDone, "Permission"),
            (status(200, r#"{"metadata":{"result":0,"reason":"You do not have it"}}"#), Kind::NotDone, "access denied"),
            (status(200, r#"{"metadata":{"result":0,"reason":"Zone \u001b"}}"#), Kind::NotDone, "f: Zone \\x1b"),
            (status(429, ""), Kind::NotDone, "busy"),
            (status(302, ""), Kind::NotDone, "not followed"),
            (status(500, "<html>"), Kind::Unknown, "500"),
            (status(200, "<html>"), Kind::Unknown, "a page in place of JSON"),
            (status(200, r#"{"metadata":{"result":1"#), Kind::Unknown, "broken JSON"),
            (status(200, ""), Kind::Unknown, "empty"),
            (status(200, r#"{"error":"Unknown App Requested: f"}"#), Kind::Unknown, "Unknown App"),
            (status(200, &"[".repeat(100_000)), Kind::Unknown, "broken JSON"),
        ] {
            assert_eq!(failure.kind, kind, "{:?}", failure.error);
            assert!(failure.error.to_string().contains(said), "{} lacks {said}", failure.error);
        }
        let inner = json!({"uapi": {"status": 0, "data": null, "errors": ["Provide the ‘zone’ argument."]}});
        let failure = decode_account("DNS::parse_zone", &inner).unwrap_err();
        assert_eq!(failure.error.to_string(), "DNS::parse_zone: Provide the ‘zone’ argument.");
    }
}
