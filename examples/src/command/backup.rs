//! `clonepanel backup`: snapshots of sites, several servers at a time.

mod origin;
mod run;
mod stopped;

use crate::{
    command::dns::zones_of,
    config::{Rate, Ssh, Way},
    context::{Context, tell_unsound},
    database::SiteDatabase,
    failure::{Exit, Failure, Outcome},
    location::Location,
    output::Output,
    within::lies_within,
    zone::SiteZone,
};
use clap::Args;
use clonepanel_core::{
    dns::DnsProvider,
    filter::{Filter, Rule},
    snapshot_id::SourceName,
    store::SnapshotStore,
    suspicion::SuspicionRules,
    transport::PullRequest,
};
use clonepanel_store::{HardLinkStore, LocalTransport};
use origin::Naming;
use run::{Plan, Runner};
use std::{ffi::OsString, path::Path, sync::Arc};

/// Make snapshots: of the sites of the configuration, or of one place without a configuration
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel backup                                   every site of the configuration
  clonepanel backup example.org example.net
  clonepanel backup example.org --accept              most files went, and that was meant
  clonepanel backup --store /srv/backup ./public_html
  clonepanel backup --store /srv/backup alice@alpha.example.net:public_html
  clonepanel backup --store /srv/backup alice@alpha.example.net: --source example.org \\
      --port 2222 --identity keys/alpha --exclude 'cache/'
  clonepanel backup --store /srv/backup --transport agent alice@alpha.example.net:public_html

Run it again whenever you like: only changes travel, and only changed files take space. Host keys
are always checked. A path at the far end is relative to the login's home; empty means all of it.")]
pub(crate) struct Backup {
    /// Sites of the configuration; with --store: user@host:path, or a folder of this machine
    #[arg(value_name = "SITE|PLACE")]
    places: Vec<OsString>,
    /// Take what looks like an accident for what it should be, this time
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    place: PlaceOptions,
}

/// How a place that no configuration knows is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Without a configuration")]
struct PlaceOptions {
    /// What the snapshots are filed under [default: made from the place]
    #[arg(long, value_name = "NAME", value_parser = |name: &str| SourceName::new(name))]
    source: Option<SourceName>,
    /// The port of ssh
    #[arg(long)]
    port: Option<u16>,
    /// The private key to log in with
    #[arg(long, value_name = "FILE")]
    identity: Option<std::path::PathBuf>,
    /// Where the host key is found
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<std::path::PathBuf>,
    /// A further setting of ssh, as in ssh_config: Ciphers=aes128-gcm@openssh.com
    #[arg(long, value_name = "KEY=VALUE")]
    ssh_option: Vec<String>,
    /// What is spoken with the far end: its stock rsync, or the ClonePanel that is installed there
    #[arg(long, value_name = "rsync|agent", value_parser = ["rsync", "agent"])]
    transport: Option<String>,
    /// What ClonePanel is called at the far end [default: clonepanel]
    #[arg(long, value_name = "PROGRAM")]
    agent_program: Option<String>,
    /// Leave out what matches, by rsync's pattern rules
    #[arg(long, value_name = "PATTERN", value_parser = |text: &str| Rule::parse(text))]
    exclude: Vec<Rule>,
    /// At most so many bytes in a second: 4MiB/s
    #[arg(long, value_name = "RATE")]
    bandwidth: Option<Rate>,
}

impl Backup {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        match context.given_store() {
            Some(root) => self.run_place(context, root).await,
            None => self.run_sites(context).await,
        }
    }

    async fn run_sites(&self, context: &Context) -> Result<Outcome, Failure> {
        if let Some(option) = self.place.first_given() {
            return Err(Failure::usage(format!("{option} is for places without a configuration"))
                .hint("add --store DIR, or write it into the configuration"));
        }
        let config = context.config()?;
        let names = self.places.iter().map(site_name).collect::<Result<Vec<_>, _>>()?;
        let sites = config.select(&names)?;
        if sites.is_empty() {
            return Err(Failure::usage(format!("{} has no sites", config.path.display()))
                .hint("add [site.\"example.org\"]; `clonepanel init` in another folder shows how"));
        }
        let store = open_store(&config.store)?;
        let mut runner = self.runner(Arc::clone(&store) as Arc<dyn SnapshotStore>, context);
        for site in sites {
            tell_unsound_of(&context.output, &store, &site.name).await?;
            let account = &site.primary;
            let Some(server) = config.servers.get(&account.server) else { continue };
            let databases =
                account.databases.iter().map(|database| SiteDatabase::new(server, account, database)).collect();
            let zone = zones_of(server).and_then(|zones| {
                let provider = zones.map(|zones| Arc::new(zones) as Arc<dyn DnsProvider>);
                SiteZone::new(provider.map_err(|failure| failure.message), site.name.as_str()).map(Arc::new)
            });
            let request = PullRequest::new().paths(account.paths.clone()).filter(account.filter.clone());
            let transport = crate::connect::account(server, account, Vec::new()).transport();
            runner.add(Plan {
                site: site.name.clone(),
                server: server.name.clone(),
                at_a_time: server.transfers,
                transport,
                request,
                databases,
                zone,
            });
        }
        runner.run().await
    }

    fn runner(&self, store: Arc<dyn SnapshotStore>, context: &Context) -> Runner {
        let rules = if self.accept { SuspicionRules::accept_everything() } else { SuspicionRules::new() };
        Runner::new(store, Arc::clone(&context.output), rules, Arc::clone(&context.told))
    }

    async fn run_place(&self, context: &Context, root: &Path) -> Result<Outcome, Failure> {
        let [place] = self.places.as_slice() else {
            return Err(Failure::usage("with --store there must be exactly one place to back up")
                .hint("clonepanel backup --store DIR user@host:path, or a folder of this machine"));
        };
        let location = Location::parse(place)?;
        let (source, naming) = match &self.place.source {
            Some(source) => (source.clone(), Naming::Given),
            None => (location.source_name()?, Naming::Made),
        };
        let request = PullRequest::new().filter(Filter::new(self.place.exclude.clone()));
        if let Location::Local(path) = &location {
            if let Some(option) = self.place.first_ssh_option() {
                return Err(Failure::usage(format!("{option} is for ssh; {} is a folder here", path.display()))
                    .hint("a place on another machine is written user@host:path"));
            }
            refuse_inside(path, root)?;
        }
        let store = open_store(root)?;
        origin::claim(root, &source, naming, &location, self.place.port)?;
        tell_unsound_of(&context.output, &store, &source).await?;
        let plan = match location {
            Location::Local(path) => {
                let transport = Arc::new(LocalTransport::new(path));
                Plan {
                    site: source,
                    server: String::new(),
                    at_a_time: 1,
                    transport,
                    request,
                    databases: Vec::new(),
                    zone: None,
                }
            }
            Location::Remote { user, host, path } => {
                let ssh = Ssh {
                    host: host.clone(),
                    port: self.place.port,
                    identity_file: self.place.identity.clone(),
                    known_hosts_file: self.place.known_hosts.clone(),
                    options: self.place.ssh_option.clone(),
                };
                let (way, bandwidth) = (self.place.way()?, self.place.bandwidth);
                let transport = crate::connect::remote(&ssh, user.as_deref(), path, bandwidth, &way).transport();
                Plan { site: source, server: host, at_a_time: 1, transport, request, databases: Vec::new(), zone: None }
            }
        };
        let mut runner = self.runner(store, context);
        runner.add(plan);
        let mut outcome = runner.run().await?;
        if outcome.exit == Exit::Done {
            outcome.result.insert("store".to_owned(), root.to_string_lossy().into());
        }
        Ok(outcome)
    }
}

impl PlaceOptions {
    fn way(&self) -> Result<Way, Failure> {
        match (self.transport.as_deref(), &self.agent_program) {
            (Some("agent"), program) => Ok(Way::Agent { program: program.clone() }),
            (_, Some(_)) => Err(Failure::usage("--agent-program is for --transport agent")),
            (_, None) => Ok(Way::Rsync),
        }
    }

    fn first_given(&self) -> Option<&'static str> {
        let others = [(self.source.is_some(), "--source"), (!self.exclude.is_empty(), "--exclude")];
        self.first_ssh_option().or_else(|| others.into_iter().find(|(given, _)| *given).map(|(_, name)| name))
    }

    fn first_ssh_option(&self) -> Option<&'static str> {
        let given = [
            (self.port.is_some(), "--port"),
            (self.identity.is_some(), "--identity"),
            (self.known_hosts.is_some(), "--known-hosts"),
            (!self.ssh_option.is_empty(), "--ssh-option"),
            (self.bandwidth.is_some(), "--bandwidth"),
            (self.transport.is_some(), "--transport"),
            (self.agent_program.is_some(), "--agent-program"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }
}

fn open_store(root: &Path) -> Result<Arc<HardLinkStore>, Failure> {
    let store = HardLinkStore::init(root).map_err(|error| Failure::from(error).within(root.display()))?;
    Ok(Arc::new(store))
}

/// Names the snapshots on which the new one cannot build.
async fn tell_unsound_of(output: &Output, store: &HardLinkStore, site: &SourceName) -> Result<(), Failure> {
    for (id, why) in store.list_sound(site).await?.1 {
        tell_unsound(output, &id, &why);
    }
    Ok(())
}

fn site_name(argument: &OsString) -> Result<String, Failure> {
    let text = argument.to_string_lossy();
    if text.contains(['/', ':', '@']) {
        let shown = clonepanel_core::escape::Escaped(argument.as_encoded_bytes()).to_string();
        return Err(Failure::usage(format!("{shown} is a place, not a site of the configuration"))
            .hint("say where its snapshots go: clonepanel backup --store DIR PLACE"));
    }
    Ok(text.into_owned())
}

/// A store inside the folder that is backed up would take itself in, again and again.
fn refuse_inside(folder: &Path, store: &Path) -> Result<(), Failure> {
    if !lies_within(store, folder)? {
        return Ok(());
    }
    Err(Failure::guard(format!("the store {} lies in the folder that is to be backed up", store.display()))
        .hint("put the store somewhere else"))
}
