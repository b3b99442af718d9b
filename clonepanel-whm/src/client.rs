//! [`WhmClient`]: calls to one WHM server.

use crate::{
    envelope::{Answer, Failure, Kind, decode, decode_account},
    error::WhmError,
    loose,
    options::WhmOptions,
    refusals::Refusals,
    tls,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::{
    Client, RequestBuilder, Url,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

/// The longest answer, in bytes, that is read.
const MAX_ANSWER_LEN: usize = 8 << 20;
/// How often a read is tried.
const TRIES: u32 = 3;
/// How long the first pause between tries is, at most; each further one may be three times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const MOST_CALLS: usize = 8;
/// What a form may hold as it is; a `+` that is not encoded arrives as a space, and the call still reports success.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parameters of a call; values are octets, since records are.
pub(crate) type Parameters<'a> = [(&'a str, Vec<u8>)];

/// Calls to one WHM server. Clones share the connections, the limit of calls at a time and what is known about the server.
#[derive(Clone)]
pub struct WhmClient {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: String,
    base: Url,
    authorization: HeaderValue,
    /// Connections are kept.
    reads: Client,
    /// A connection each: a kept one may be closed by the server just then, and nobody knows what became of the change.
    writes: Client,
    deadline: Duration,
    calls: Semaphore,
    refusals: Refusals,
    functions: OnceCell<BTreeSet<String>>,
}

impl fmt::Debug for WhmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WhmClient").field(&self.inner.endpoint).finish()
    }
}

impl WhmClient {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// [`WhmError::Options`] when the URL is not `https://host:port`, or a certificate or the login cannot be used.
    pub fn new(options: &WhmOptions) -> Result<Self, WhmError> {
        let base = options.base()?;
        let wrong = |what: &str| WhmError::Options { detail: format!("the {what} cannot stand in a header") };
        let login = format!("whm {}:{}", options.user, options.token.expose());
        let mut authorization = HeaderValue::try_from(login).map_err(|_| wrong("user or token"))?;
        authorization.set_sensitive(true);
        let config = tls::config(&options.trust)?;
        let client = |idle| {
            let builder = Client::builder()
                .tls_backend_preconfigured(config.clone())
                .https_only(true)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(options.connect_deadline)
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(Duration::from_secs(20));
            builder.build().map_err(|error| WhmError::Options { detail: error.without_url().to_string() })
        };
        let (reads, writes) = (client(MOST_CALLS)?, client(0)?);
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or_default();
        let inner = Inner {
            endpoint: format!("{}@{host}:{port}", clonepanel_core::escape::Escaped(options.user.as_bytes())),
            base,
            authorization,
            reads,
            writes,
            deadline: options.deadline,
            calls: Semaphore::new(options.calls.clamp(1, MOST_CALLS)),
            refusals: Refusals::default(),
            functions: OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the server is called in messages: `reseller@alpha.example.net:2087`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// The functions that the login may call, as the server tells (`applist`); asked once.
    ///
    /// # Errors
    /// [`WhmError`] by what to do next; a failure is not remembered.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn functions(&self) -> Result<&BTreeSet<String>, WhmError> {
        let ask = || async {
            let answer = self.read("applist", &[]).await?;
            let functions = loose::list(answer.data.get("app")).iter().filter_map(loose::text);
            Ok(functions.collect())
        };
        self.inner.functions.get_or_try_init(ask).await
    }

    /// The version that the server tells: `11.134.0.59`.
    ///
    /// # Errors
    /// [`WhmError`] by what to do next.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn version(&self) -> Result<String, WhmError> {
        let answer = self.read("version", &[]).await?;
        let version = answer.data.get("version").and_then(loose::text);
        version.ok_or_else(|| WhmError::Protocol { detail: "version: no version".to_owned() })
    }

    /// How long one call may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.inner.deadline
    }

    /// Whether the login may call all of these.
    pub(crate) async fn may(&self, functions: &[&str]) -> Result<bool, WhmError> {
        let known = self.functions().await?;
        Ok(functions.iter().all(|function| known.contains(*function)))
    }

    /// Calls a function that changes nothing, a few times if need be and within one deadline.
    pub(crate) async fn read(&self, function: &str, parameters: &Parameters<'_>) -> Result<Answer, WhmError> {
        let _slot = self.slot().await;
        let end = Instant::now() + self.inner.deadline;
        let mut url = self.url(function);
        url.set_query(Some(&form(parameters)));
        let mut pause = FIRST_PAUSE;
        let mut left = TRIES;
        loop {
            left -= 1;
            let wait = pause.mul_f64(jitter());
            match self.call(function, self.inner.reads.get(url.clone()), end).await {
                Err(failure) if left > 0 && failure.error.is_fleeting() && Instant::now() + wait < end => {
                    sleep(wait).await;
                    pause *= 3;
                }
                answer => return answer.map_err(|failure| failure.error),
            }
        }
    }

    /// Calls a function that changes something, once.
    pub(crate) async fn write(&self, function: &str, parameters: &Parameters<'_>) -> Result<Answer, WhmError> {
        let _slot = self.slot().await;
        let request = self.inner.writes.post(self.url(function)).header(CONNECTION, "close");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(parameters));
        self.call(function, request, Instant::now() + self.inner.deadline).await.map_err(as_write)
    }

    /// Calls a function of an account's UAPI that changes nothing.
    pub(crate) async fn read_account(
        &self,
        user: &str,
        (module, function): (&str, &str),
        parameters: &Parameters<'_>,
    ) -> Result<Answer, WhmError> {
        let answer = self.read("uapi_cpanel", &for_account(user, module, function, parameters)).await?;
        decode_account(&format!("{module}::{function}"), &answer.data).map_err(|failure| failure.error)
    }

    /// Calls a function of an account's UAPI that changes something, once.
    pub(crate) async fn write_account(
        &self,
        user: &str,
        (module, function): (&str, &str),
        parameters: &Parameters<'_>,
    ) -> Result<Answer, WhmError> {
        let answer = self.write("uapi_cpanel", &for_account(user, module, function, parameters)).await?;
        decode_account(&format!("{module}::{function}"), &answer.data).map_err(as_write)
    }

    fn url(&self, function: &str) -> Url {
        let mut url = self.inner.base.clone();
        url.set_path(&format!("/json-api/{function}"));
        url
    }

    async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed, so there always is one in the end.
        self.inner.calls.acquire().await.ok()
    }

    async fn call(&self, function: &str, request: RequestBuilder, end: Instant) -> Result<Answer, Failure> {
        let inner = &*self.inner;
        if !inner.refusals.allow(Instant::now()) {
            let detail = "the login was refused twice, so it is not tried again for a quarter of an hour";
            return Err(Failure::not_done(WhmError::Denied { detail: detail.to_owned() }));
        }
        let request = request.header(AUTHORIZATION, inner.authorization.clone());
        let answer = match timeout_at(end, exchange(request)).await {
            Ok(exchanged) => exchanged.and_then(|(status, body)| decode(function, status, &body)),
            Err(_) => {
                let detail = format!("{function}: no answer within {:?}", inner.deadline);
                Err(Failure::unknown(WhmError::Unreachable { detail }))
            }
        };
        match &answer {
            Err(failure) if failure.kind == Kind::LoginRefused => inner.refusals.refused(Instant::now()),
            Err(failure) if failure.kind == Kind::Unknown => {}
            Err(Failure { error: WhmError::Unreachable { .. } | WhmError::Untrusted { .. }, .. }) => {}
            _ => inner.refusals.let_in(),
        }
        answer
    }
}

async fn exchange(request: RequestBuilder) -> Result<(reqwest::StatusCode, Vec<u8>), Failure> {
    let mut response = request.send().await.map_err(|error| connection(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| connection(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_LEN {
            let detail = format!("longer than {MAX_ANSWER_LEN} bytes");
            return Err(Failure::unknown(WhmError::Protocol { detail }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

fn connection(error: &reqwest::Error) -> Failure {
    if let Some(detail) = tls::distrust(error) {
        return Failure::not_done(WhmError::Untrusted { detail });
    }
    // The innermost cause says what happened; the outer ones name the URL.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let detail = crate::error::quote(cause.to_string().as_bytes());
    if error.is_connect() {
        return Failure::not_done(WhmError::Unreachable { detail: format!("cannot connect: {detail}") });
    }
    Failure::unknown(WhmError::Unreachable { detail: format!("the connection broke: {detail}") })
}

fn as_write(failure: Failure) -> WhmError {
    match failure.kind {
        Kind::Unknown => WhmError::Lost { detail: failure.error.to_string() },
        Kind::NotDone | Kind::LoginRefused => failure.error,
    }
}

fn for_account<'a>(
    user: &str,
    module: &str,
    function: &str,
    parameters: &[(&'a str, Vec<u8>)],
) -> Vec<(&'a str, Vec<u8>)> {
    let target = [("cpanel.user", user), ("cpanel.module", module), ("cpanel.function", function)];
    let target = target.map(|(name, value)| (name, value.as_bytes().to_vec()));
    target.into_iter().chain(parameters.iter().cloned()).collect()
}

/// A form, with the version that makes the answers those of API 1.
fn form(parameters: &Parameters<'_>) -> String {
    let mut form = "api.version=1".to_owned();
    for (name, value) in parameters {
        form.push('&');
        form.push_str(name);
        form.push('=');
        form.extend(percent_encode(value, PLAIN));
    }
    form
}

/// A factor from 0.5 to 1, so that many clients do not come back at once.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8) >> 40;
    0.5 + f64::from(u32::try_from(random).unwrap_or(0)) / f64::from(1u32 << 25)
}

/// A parameter of text.
pub(crate) fn parameter(name: &str, value: impl fmt::Display) -> (&str, Vec<u8>) {
    (name, value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::secret::Secret;

    #[test]
    fn forms_are_encoded_once_and_octet_by_octet() {
        let value = b"A+B 50%25off \xff\n&=;\"".to_vec();
        assert_eq!(form(&[("add-0", value)]), "api.version=1&add-0=A%2BB%2050%2525off%20%FF%0A%26%3D%3B%22");
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let token = || Secret::new("TOKEN");
        for (url, said) in [
            ("http://alpha.example.net:2086", "https"),
            ("https://a:b@alpha.example.net:2087", "login"),
            ("https://alpha.example.net:2087/json-api/", "ends with its port"),
            ("alpha", "not a URL"),
        ] {
            let error = WhmClient::new(&WhmOptions::new(url, "reseller", token())).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
        let url = "https://alpha.example.net:2087";
        let bad = WhmClient::new(&WhmOptions::new(url, "re\nseller", token())).unwrap_err();
        assert!(!bad.to_string().contains("TOKEN"));
        let no_certificate = WhmOptions::new(url, "reseller", token()).trust(crate::Trust::Pem(b"x".to_vec()));
        assert!(WhmClient::new(&no_certificate).unwrap_err().to_string().contains("no certificate"));
        let client = WhmClient::new(&WhmOptions::new(url, "reseller", token())).unwrap();
        assert_eq!(format!("{client:?}"), "WhmClient(\"reseller@alpha.example.net:2087\")");
        assert!(!format!("{:?}", WhmOptions::new(url, "reseller", token())).contains("TOKEN"));
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        assert!((0..1000).map(|_| jitter()).all(|factor| (0.5..=1.0).contains(&factor)));
    }
}
