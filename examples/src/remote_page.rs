//! [`RemotePage`]: a page as an account on another server gets it, by `curl` there.

use async_trait::async_trait;
use clonepanel_core::{
    escape::Escaped,
    health::{Class, HealthProbe, Observation, Phases, ProbeError},
};
use clonepanel_rsync::{Connect, Connection, RemoteCommand, SshConnect};
use clonepanel_whm::PageExpectation;
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

/// Stands before what `curl` tells about the page; nobody can know it beforehand.
const MARK: &str = "clonepanel-page-ends";

/// A second path to a site, for free: an account that we have on another server asks for the page with its own `curl`. It is judged as what we
/// get ourselves.
#[derive(Debug)]
pub(crate) struct RemotePage {
    name: String,
    login: SshConnect,
    url: Url,
    address: Option<IpAddr>,
    expected: PageExpectation,
    timeout: Duration,
}

/// What `curl` has to say.
struct Told {
    /// Its exit code.
    code: i32,
    status: u16,
    seconds: [f64; 5],
    next: String,
    page: Vec<u8>,
    error: String,
}

impl RemotePage {
    pub(crate) fn new(
        login: SshConnect,
        url: &str,
        address: Option<IpAddr>,
        expected: PageExpectation,
        timeout: Duration,
    ) -> Result<Self, ProbeError> {
        let url = Url::parse(url).map_err(|_| unusable("the URL is none"))?;
        let name = format!("{} from {}", url.host_str().unwrap_or_default(), login.endpoint());
        Ok(Self { name, login, url, address, expected, timeout })
    }

    async fn look(&self) -> Result<Observation, ProbeError> {
        let mut url = self.url.clone();
        for _ in 0..=PageExpectation::REDIRECTS {
            let told = self.ask(&url).await?;
            let next = self.expected.next(url.as_str(), told.status, &told.next).filter(|_| !told.next.is_empty());
            match next.and_then(|next| Url::parse(&next).ok()) {
                Some(next) => url = next,
                None => return self.judge(&told),
            }
        }
        let (class, detail) = PageExpectation::endless();
        Ok(Observation::new(class, Duration::ZERO, detail))
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
            "silent\nshow-error\ngloboff\nproto = \"=http,https\"\nmax-time = {}\nmax-filesize = {}\nuser-agent = \"clonepanel/{} (monitor)\"\nurl = {}\nwrite-out = {}\n",
            self.timeout.as_secs_f64(),
            PageExpectation::MAX_BODY,
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
            let (mut output, mut errors) = (output.take(2 * PageExpectation::MAX_BODY as u64), errors.take(64 << 10));
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
        let class = match told.code {
            0 => {
                let (class, detail) = self.expected.judge(told.status, &told.page, latency);
                return Ok(Observation::new(class, latency, detail).phases(phases));
            }
            6 => Class::Name,
            7 => Class::Refused,
            28 => Class::TimedOut,
            51 | 60 => Class::Certificate,
            18 | 52 | 56 | 92 => Class::Reset,
            1 | 8 | 35 | 63 => Class::WrongContent,
            // Its own options, memory, network.
            code => return Err(unusable(&format!("curl at the far end ends with {code}: {}", told.error))),
        };
        Ok(Observation::new(class, latency, &told.error).phases(phases))
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
    let next = parts.next().unwrap_or_default().to_owned();
    Some(Told { code, status, seconds, next, page, error })
}

fn unusable(why: &str) -> ProbeError {
    ProbeError::Unusable { detail: why.to_owned() }
}

fn local(error: clonepanel_core::transport::TransportError) -> ProbeError {
    ProbeError::Local { source: error.into() }
}
