//! What can be tried at the far end.

use super::{local::check_secret, report::Report};
use crate::{
    config::{Account, Database, Server},
    connect::{self, Remote},
    context::now,
    database::SiteDatabase,
    failure::Failure,
};
use clonepanel_core::{
    path::RelPath,
    time::Timestamp,
    transport::{PullRequest, TransportError},
};
use clonepanel_rsync::{RsyncTransport, agent::AgentTransport};
use std::time::Duration;

/// Clocks further apart than this deserve a word: ages of files are judged by them.
const APART: Duration = Duration::from_secs(120);

/// The login, the program there, and each path.
pub(super) async fn check(site: &str, server: &Server, account: &Account, report: &mut Report<'_>) {
    let what = format!("{site} on {}", server.name);
    match connect::account(server, account, Vec::new()) {
        Remote::Rsync(login) => check_rsync(&what, &login, server, account, report).await,
        Remote::Agent(login) => check_agent(&what, &login, server, account, report).await,
    }
    for database in &account.databases {
        check_secret(&what, "password", database.password.as_ref(), report);
        check_database(&what, server, account, database, report).await;
    }
}

/// The way to a database, the login there, and what a dump would miss.
async fn check_database(what: &str, server: &Server, account: &Account, database: &Database, report: &mut Report<'_>) {
    let name = &database.name;
    match Box::pin(SiteDatabase::new(server, account, database).audit()).await {
        Ok(missing) if missing.is_empty() => report.good(what, format!("database {name}: a dump misses nothing")),
        Ok(missing) => {
            for (missing, mend) in missing {
                report.bad(what, format!("database {name}: a dump misses the {missing}"), mend);
            }
        }
        Err(why) => report.bad(what, format!("database {name}: {why}"), None),
    }
}

async fn check_rsync(what: &str, login: &RsyncTransport, server: &Server, account: &Account, report: &mut Report<'_>) {
    let far_end = match login.probe(&PullRequest::new().paths(account.paths.clone())).await {
        Ok(far_end) => far_end,
        Err(error) => return bad(what, &error, report),
    };
    report.good(what, format!("{}@{} logs in, the host key is known", account.user, server.ssh.host));
    report.good(what, format!("the far end has {}", far_end.rsync));
    if far_end.finds_changes {
        report.good(what, "changes are found by change time".to_owned());
    } else {
        report.unchecked(what, "no GNU find there: changes are found by size and time alone".to_owned());
    }
    if let Some(clock) = far_end.clock {
        check_clock(what, clock, report);
    }
    check_paths(what, account, &far_end.missing, report);
    tell_banner(what, far_end.banner, report);
}

async fn check_agent(what: &str, login: &AgentTransport, server: &Server, account: &Account, report: &mut Report<'_>) {
    let facts = match login.probe(&account.paths).await {
        Ok(facts) => facts,
        Err(error) => return bad(what, &error, report),
    };
    report.good(what, format!("{}@{} logs in, the host key is known", account.user, server.ssh.host));
    let limits = if facts.is_read_only { ", which only gives" } else { "" };
    report.good(what, format!("the agent there is {}{limits}", facts.program));
    check_clock(what, facts.clock, report);
    check_paths(what, account, &facts.missing, report);
    tell_banner(what, facts.banner, report);
}

fn bad(what: &str, error: &TransportError, report: &mut Report<'_>) {
    let failure = Failure::because(error);
    report.bad(what, failure.message, failure.hint);
}

fn check_clock(what: &str, clock: Timestamp, report: &mut Report<'_>) {
    let now = now();
    let apart = now.since(clock).max(clock.since(now));
    if apart > APART {
        let hint = "set the clock here, or ask the host to".to_owned();
        report.bad(what, format!("the clocks are {} s apart", apart.as_secs()), Some(hint));
    }
}

fn check_paths(what: &str, account: &Account, missing: &[RelPath], report: &mut Report<'_>) {
    for path in &account.paths {
        // A path is missing with whatever leads to it.
        if missing.iter().any(|missing| path.is_within(missing)) {
            let hint = "mend `paths` in the configuration, or make it there".to_owned();
            report.bad(what, format!("{path} does not exist there"), Some(hint));
        } else {
            report.good(what, format!("{path} is there"));
        }
    }
}

fn tell_banner(what: &str, banner: Option<String>, report: &mut Report<'_>) {
    if let Some(banner) = banner {
        report.unchecked(what, format!("the login prints \"{banner}\", which other tools stumble over"));
    }
}
