//! [`RemotePage`]: a page as an account on another server gets it, by `curl` there.

use async_trait::async_trait;
use clonepanel_core::{
    escape::Escaped,
    health::{Class, HealthProbe, Observation, Phases, ProbeError},
};
use clonepanel_rsync::{Connect, Connection, RemoteCommand, SshConnect};
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

/// So much of a page is read, in bytes.
const MAX_BODY: u64 = 1 << 20;
/// How often a page may lead to another one of the same host.
const REDIRECTS: usize = 5;
/// Stands before what `curl` tells about the page; nobody can know it beforehand.
const MARK: &str = "clonepanel-page-ends";

/// A second path to a site, for free: an account that we have on another server asks for the page with its own `curl`. What is judged is as with
/// [`HttpProbe`](clonepanel_whm::HttpProbe).
#[derive(Debug)]
pub(crate) struct RemotePage {
    name: String,
    login: SshConnect,
    url: Url,
    pub(crate) address: Option<IpAddr>,
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
    pub(crate) slow: Duration,
    pub(crate) timeout: Duration,
}

/// What `curl` has to say.
struct Told {
    /// Its exit code.
    code: i32,
    status: u16,
    seconds: [f64; 5],
    next: Option<Url>,
    page: Vec<u8>,
    error: String,
}

impl RemotePage {
    pub(crate) fn new(login: SshConnect, url: &str) -> Result<Self, ProbeError> {
        let url = Url::parse(url).map_err(|_| unusable("the URL is none"))?;
        let name = format!("{} from {}", url.host_str().unwrap_or_default(), login.endpoint());
        let (status, slow, timeout) = (200, Duration::from_secs(3), Duration::from_secs(10));
        Ok(Self { name, login, url, address: None, status, body: None, slow, timeout })
    }

    async fn look(&self) -> Result<Observation, ProbeError> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS {
            let told = self.ask(&url).await?;
            match &told.next {
                Some(next) if told.status != self.status && next.host_str() == url.host_str() => url = next.clone(),
                _ => return self.judge(&told),
            }
        }
        let detail = format!("it leads on and on, more than {REDIRECTS} times");
        Ok(Observation::new(Class::WrongStatus, Duration::ZERO, detail))
    }

    /// What `curl` is told stands in its input, and not in the list of processes there.
    fn options(&self, url: &Url) -> Result<String, ProbeError> {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let host = url.host_str().ok_or_else(|| unusable("the URL has no host"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let told = format!(
            "\n{MARK} %{{http_code}} %{{time_namelookup}} %{{time_connect}} %{{time_appconnect}} %{{time_starttransfer}} %{{time_total}} \
             %{{redirect_url}}\n"
        );
        let mut options = format!(
            "silent\nshow-error\ngloboff\nproto = \"=http,https\"\nmax-time = {}\nmax-filesize = {MAX_BODY}\nuser-agent = \"clonepanel/{} (monitor)\"\nurl = {}\nwrite-out = {}\n",
            self.timeout.as_secs_f64(),
            env!("CARGO_PKG_VERSION"),
            quoted(url.as_str()),
            quoted(&told).replace('\n', "\\n"),
        );
        if let Some(address) = self.address {
            let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            options.push_str(&format!("resolve = {}\n", quoted(&format!("{host}:{port}:{address}"))));
        }
        Ok(options)
    }

    async fn ask(&self, url: &Url) -> Result<Told, ProbeError> {
        let words = ["curl", "--disable", "--config", "-"].map(|word| word.as_bytes().to_vec());
        let opened = self.login.open(&RemoteCommand::new(words.to_vec())).await;
        let Connection { mut input, output, errors, exit } = opened.map_err(local)?;
        let options = self.options(url)?;
        let told = async {
            input.write_all(options.as_bytes()).await?;
            drop(input);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let (mut output, mut errors) = (output.take(2 * MAX_BODY), errors.take(64 << 10));
            tokio::try_join!(output.read_to_end(&mut out), errors.read_to_end(&mut err))?;
            Ok::<_, std::io::Error>((out, err, exit.await?))
        };
        // The login takes some time as well.
        let limit = self.timeout.saturating_add(Duration::from_secs(15));
        let told = tokio::time::timeout(limit, told).await.map_err(|_| unusable("the login does not answer"))?;
        let (out, err, code) = told.map_err(|error| ProbeError::Local { source: error.into() })?;
        let error = Escaped(err.trim_ascii()).to_string();
        let code = code.ok_or_else(|| unusable("curl was killed"))?;
        if let Some(error) = self.login.explain(Some(code), &error) {
            return Err(local(error));
        }
        if matches!(code, 126 | 127) {
            return Err(unusable("there is no curl at the far end"));
        }
        told_by(code, &out, error).ok_or_else(|| unusable("curl at the far end says something else than it should"))
    }

    fn judge(&self, told: &Told) -> Result<Observation, ProbeError> {
        let after = |at: usize| Some(told.seconds[at]).filter(|seconds| *seconds > 0.0).map(Duration::from_secs_f64);
        let phases = Phases { resolved: after(0), connected: after(1), encrypted: after(2), answered: after(3) };
        let latency = Duration::from_secs_f64(told.seconds[4].clamp(0.0, 3600.0));
        let (class, detail) = match (told.code, &self.body) {
            (0, _) if told.status != self.status => {
                let is_busy = matches!(told.status, 429 | 503 | 508);
                let class = if is_busy { Class::Overload } else { Class::WrongStatus };
                (class, format!("status {} instead of {}", told.status, self.status))
            }
            (0, Some(text)) if !told.page.windows(text.len().max(1)).any(|part| part == text.as_bytes()) => {
                (Class::WrongContent, format!("a page without {text:?}"))
            }
            (0, _) if latency > self.slow => (Class::Slow, format!("status {}", told.status)),
            (0, _) => (Class::Good, format!("status {}", told.status)),
            (6, _) => (Class::Name, told.error.clone()),
            (7, _) => (Class::Refused, told.error.clone()),
            (28, _) => (Class::TimedOut, told.error.clone()),
            (51 | 60, _) => (Class::Certificate, told.error.clone()),
            (52 | 56 | 18 | 92, _) => (Class::Reset, told.error.clone()),
            (1 | 8 | 35 | 63, _) => (Class::WrongContent, told.error.clone()),
            // Its own options, memory, network.
            (code, _) => return Err(unusable(&format!("curl at the far end ends with {code}: {}", told.error))),
        };
        Ok(Observation::new(class, latency, detail).phases(phases))
    }
}

#[async_trait]
impl HealthProbe for RemotePage {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        let begun = Instant::now();
        let mut seen = self.look().await?;
        if seen.latency.is_zero() {
            // What never came to an answer took as long as it took.
            seen.latency = begun.elapsed();
        }
        Ok(seen)
    }
}

/// Takes apart what `curl` has written: the page, and the line behind it.
fn told_by(code: i32, out: &[u8], error: String) -> Option<Told> {
    let mark = format!("\n{MARK} ");
    let at = out.windows(mark.len()).rposition(|part| part == mark.as_bytes())?;
    let (page, line) = (out.get(..at)?.to_vec(), std::str::from_utf8(out.get(at + mark.len()..)?).ok()?);
    let mut parts = line.trim_end().split(' ');
    let status = parts.next()?.parse().ok()?;
    let mut seconds = [0.0; 5];
    for second in &mut seconds {
        *second = parts.next()?.parse().ok().filter(|second: &f64| (0.0..1e6).contains(second))?;
    }
    let next = parts.next().and_then(|url| Url::parse(url).ok()).filter(|url| matches!(url.scheme(), "http" | "https"));
    Some(Told { code, status, seconds, next, page, error })
}

fn unusable(why: &str) -> ProbeError {
    ProbeError::Unusable { detail: why.to_owned() }
}

fn local(error: clonepanel_core::transport::TransportError) -> ProbeError {
    ProbeError::Local { source: error.into() }
}
