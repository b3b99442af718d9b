//! `clonepanel monitor`: what state the sites are in, as their visitors see them.

use crate::{
    config::{self, Config, Server, Site, Vantage},
    connect,
    context::Context,
    database::SiteDatabase,
    failure::{Exit, Failure, Outcome},
    output::{Output, show},
    remote_load::RemoteLoad,
    remote_page::RemotePage,
    signal,
    timer::SystemTimer,
    watched,
};
use async_trait::async_trait;
use clap::Args;
use clonepanel_core::{
    escape::Escaped,
    health::{HealthLogError, HealthProbe, Observation, ProbeError, WatchPolicy},
    job::{HealthRecorder, Monitor, MonitorEvent, MonitorObserver, Target},
    time::Timestamp,
};
use clonepanel_whm::{BannerProbe, CertificateProbe, HttpProbe, PageExpectation};
use serde_json::json;
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Watch the sites: pages, certificates, databases and load at each server, and the servers' ssh
///
/// Runs until it is stopped, and tells each change of state as it comes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel monitor --once          look once at everything, and say what is seen
  clonepanel monitor --once example.org
  clonepanel monitor --json          each look as a line, until SIGTERM")]
pub(crate) struct MonitorCommand {
    /// Only this site
    #[arg(value_name = "SITE")]
    site: Option<String>,
    /// Look once, and judge nothing
    #[arg(long)]
    once: bool,
}

impl MonitorCommand {
    /// Whether it runs until it is stopped.
    pub(crate) const fn is_endless(&self) -> bool {
        !self.once
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let config = context.config()?;
        let sites = config.select(self.site.as_slice())?;
        let watched: Vec<_> = sites.into_iter().filter_map(|site| Some((site, site.monitor.as_ref()?))).collect();
        if watched.is_empty() {
            return Err(
                Failure::usage("there is nothing to watch").hint("add [site.\"NAME\".monitor] to the configuration")
            );
        }
        let monitor = monitor(&config, &watched)?;
        let output = &context.output;
        let told = Told {
            output,
            tells_looks: self.once,
            looks: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            log: HealthRecorder::new(),
        };
        let timer = SystemTimer::new();
        let mut stopped_by = None;
        if self.once {
            monitor.look_once(&timer, &told).await;
        } else {
            let (log, stopped) = (watched::open(&config)?, signal::stopped()?);
            let trouble = |error: &HealthLogError| output.warn(Failure::because(error).message);
            tokio::select! {
                name = stopped => stopped_by = Some(name),
                () = monitor.run(&timer, &told, std::future::pending()) => {}
                () = told.log.run(&log, &timer, &trouble) => {}
            }
            let flushed = tokio::time::timeout(GRACE, told.log.flush(&log)).await;
            if !matches!(flushed, Ok(Ok(()))) {
                output.warn("what was seen last could not be kept");
            }
        }
        let (looks, bad) = (told.looks.load(Ordering::Relaxed), told.bad.load(Ordering::Relaxed));
        let exit = if self.once && bad > 0 { Exit::Partial } else { Exit::Done };
        let dropped = told.log.dropped();
        Ok(Outcome::new(exit, json!({ "looks": looks, "bad": bad, "not_kept": dropped, "stopped_by": stopped_by })))
    }
}

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// What is looked at for some sites.
fn monitor(config: &Config, sites: &[(&Site, &config::Monitor)]) -> Result<Monitor, Failure> {
    let mut monitor = Monitor::new().seed(u64::from(std::process::id()));
    let mut canaries = Vec::new();
    let mut servers = Vec::new();
    for (site, settings) in sites {
        let policy = WatchPolicy::new(settings.interval)
            .fall(settings.fall)
            .rise(settings.rise, settings.interval.saturating_mul(settings.rise));
        let target = |what: &str, server: &str| {
            Target::new(format!("{} {what} at {server}", site.name), server, settings.interval, policy.clone())
        };
        let accounts = std::iter::once(&site.primary).chain(&site.spare);
        for (place, account) in accounts.enumerate() {
            let Some(server) = config.servers.get(&account.server) else { continue };
            let address = server.addresses.first().copied();
            // Whatever the name resolves to is the primary's, if anybody's.
            if address.is_none() && place > 0 {
                continue;
            }
            let mut pages = target("page", &server.name);
            for vantage in &settings.vantages {
                let unusable = |error: ProbeError| Failure::usage(error.to_string()).within(&site.name);
                pages = match vantage {
                    Vantage::Here => pages.here(page(settings, address).map_err(unusable)?),
                    // A server does not see its own way to the world.
                    Vantage::Ssh(from) if *from == server.name => pages,
                    Vantage::Ssh(from) => {
                        let probe = remote_page(config, site, from, settings, address).map_err(unusable)?;
                        pages.there(format!("ssh:{from}"), probe)
                    }
                };
            }
            monitor = monitor.target(pages);
            if let Some(certificate) = certificate(settings, address)? {
                monitor = monitor.target(target("certificate", &server.name).here(certificate));
            }
            for database in &account.databases {
                let what = format!("database {}", database.name);
                let probe =
                    DatabaseLook::new(SiteDatabase::new(server, account, database), what.clone(), settings.timeout);
                let name = format!("{} {what} at {}", site.name, server.name);
                monitor = monitor.target(seldom(name, server, settings).here(Arc::new(probe)));
            }
            if let Some(limits) = settings.load {
                let login = connect::login(&server.ssh, Some(&account.user));
                let probe = RemoteLoad::new(login, limits, settings.timeout);
                let name = format!("{} load at {}", site.name, server.name);
                monitor = monitor.target(seldom(name, server, settings).here(Arc::new(probe)));
            }
            if !servers.contains(&&server.name) {
                servers.push(&server.name);
                let ssh = Arc::new(ssh(server).timeout(settings.timeout));
                let target =
                    Target::new(format!("ssh at {}", server.name), &server.name, settings.interval, policy.clone());
                monitor = monitor.target(target.here(ssh));
            }
        }
        for url in settings.canaries.iter().filter(|url| !canaries.contains(url)).collect::<Vec<_>>() {
            canaries.push(url);
            monitor = monitor.canary(canary(url, settings.timeout)?);
        }
    }
    Ok(monitor)
}

/// What takes a login for each look.
fn seldom(name: String, server: &Server, settings: &config::Monitor) -> Target {
    let interval = settings.interval.max(Duration::from_mins(1));
    let policy = WatchPolicy::new(interval).fall(settings.fall).recheck(Duration::from_secs(10));
    let policy = policy.rise(settings.rise, interval.saturating_mul(settings.rise));
    Target::new(name, &server.name, interval, policy)
}

/// A database of a site, as the site reaches it.
struct DatabaseLook {
    name: String,
    database: SiteDatabase,
    timeout: Duration,
}

impl DatabaseLook {
    const fn new(database: SiteDatabase, name: String, timeout: Duration) -> Self {
        Self { name, database, timeout }
    }
}

#[async_trait]
impl HealthProbe for DatabaseLook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        self.database.look(self.timeout).await
    }
}

fn page(settings: &config::Monitor, address: Option<IpAddr>) -> Result<Arc<dyn HealthProbe>, ProbeError> {
    let probe = HttpProbe::new(&settings.url)?
        .expect(expected(settings))
        .timeout(settings.timeout)
        .certificate_days(settings.certificate_days);
    Ok(Arc::new(match address {
        Some(address) => probe.at(address),
        None => probe,
    }))
}

fn remote_page(
    config: &Config,
    site: &Site,
    from: &str,
    settings: &config::Monitor,
    address: Option<IpAddr>,
) -> Result<Arc<dyn HealthProbe>, ProbeError> {
    let account = std::iter::once(&site.primary).chain(&site.spare).find(|account| account.server == from);
    let (Some(account), Some(server)) = (account, config.servers.get(from)) else {
        return Err(ProbeError::Unusable { detail: format!("there is no account on {from}") });
    };
    let login = connect::login(&server.ssh, Some(&account.user));
    Ok(Arc::new(RemotePage::new(login, &settings.url, address, expected(settings), settings.timeout)?))
}

fn expected(settings: &config::Monitor) -> PageExpectation {
    let page = PageExpectation::new().status(settings.status).slow(settings.slow);
    match &settings.body {
        Some(text) => page.body(text),
        None => page,
    }
}

fn certificate(settings: &config::Monitor, address: Option<IpAddr>) -> Result<Option<Arc<dyn HealthProbe>>, Failure> {
    let Some(url) = url::Url::parse(&settings.url).ok().filter(|url| url.scheme() == "https") else { return Ok(None) };
    let probe = CertificateProbe::new(url.host_str().unwrap_or_default());
    let probe = probe.map_err(|error| Failure::failed(error.to_string()))?;
    let probe = probe.port(url.port().unwrap_or(443)).days(settings.certificate_days).timeout(settings.timeout);
    Ok(Some(Arc::new(match address {
        Some(address) => probe.at(address),
        None => probe,
    })))
}

fn ssh(server: &Server) -> BannerProbe {
    BannerProbe::ssh(&server.ssh.host, server.ssh.port.unwrap_or(22))
}

fn canary(url: &str, timeout: Duration) -> Result<Arc<dyn HealthProbe>, Failure> {
    let probe = HttpProbe::new(url).map_err(|error| Failure::usage(error.to_string()).within("canaries"))?;
    Ok(Arc::new(probe.timeout(timeout)))
}

/// Prints what a monitor sees.
struct Told<'a> {
    output: &'a Output,
    tells_looks: bool,
    looks: AtomicU64,
    bad: AtomicU64,
    log: HealthRecorder,
}

impl Told<'_> {
    /// A look by itself is worth a line only where there is nothing else to tell.
    fn line(&self, text: fmt::Arguments<'_>) {
        if self.tells_looks {
            self.output.line(text);
        }
    }

    fn looked(
        &self,
        target: &str,
        vantage: &str,
        at: Timestamp,
        look: &Result<Observation, ProbeError>,
        late: Duration,
    ) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let shown = Escaped(target.as_bytes());
        match look {
            Ok(seen) => {
                self.bad.fetch_add(u64::from(seen.class.is_failure()), Ordering::Relaxed);
                let phase = |phase: Option<Duration>| phase.map(|phase| phase.as_secs_f64());
                self.output.event(&json!({
                    "event": "look", "target": target, "vantage": vantage, "at": at.to_string(), "class": seen.class.word(),
                    "seconds": seen.latency.as_secs_f64(), "late": late.as_secs_f64(), "detail": seen.detail(),
                    "phases": {
                        "resolved": phase(seen.phases.resolved), "connected": phase(seen.phases.connected),
                        "encrypted": phase(seen.phases.encrypted), "answered": phase(seen.phases.answered),
                    },
                }));
                self.line(format_args!(
                    "{:<17} {shown}  {:.0} ms  {}",
                    seen.class,
                    seen.latency.as_secs_f64() * 1000.0,
                    seen.detail(),
                ));
            }
            Err(error) => {
                self.bad.fetch_add(1, Ordering::Relaxed);
                let why = Failure::because(error).message;
                self.output.event(&json!({
                    "event": "look", "target": target, "vantage": vantage, "at": at.to_string(), "class": null, "detail": why,
                }));
                self.line(format_args!("{:<17} {shown}  {why}", "not looked at"));
            }
        }
    }
}

impl MonitorObserver for Told<'_> {
    fn notice(&self, event: &MonitorEvent<'_>) {
        self.log.notice(event);
        match event {
            MonitorEvent::Looked { target, vantage, at, look, late } => self.looked(target, vantage, *at, look, *late),
            MonitorEvent::Changed { target, from, verdict, cause, at } => {
                let (from, to) = (from.word(), verdict.state.word());
                let detail = cause.map(|seen| format!("{} {}", seen.class, seen.detail()).trim_end().to_owned());
                let reason = verdict.reason.to_string();
                self.output.event(&json!({
                    "event": "change", "target": target, "at": at.to_string(), "from": from, "to": to,
                    "reason": reason, "may_act": verdict.may_act, "cause": detail,
                }));
                let why = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                let (at, target) = (show::moment(*at), Escaped(target.as_bytes()));
                self.output.line(format_args!("{at}  {target}  {from} -> {to} ({reason}){why}"));
            }
            MonitorEvent::OwnTrouble { what, at } => {
                self.output.event(&json!({ "event": "own_trouble", "at": at.to_string(), "what": what }));
                self.output.warn(format_args!("{}  nothing can be told from here: {what}", show::moment(*at)));
            }
            _ => {}
        }
    }
}
