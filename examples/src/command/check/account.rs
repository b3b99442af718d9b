//! What can be tried at the far end.

use super::{local::check_secret, report::Report};
use crate::{
    config::{Account, Server},
    connect,
    context::now,
    failure::Failure,
};
use clonepanel_core::transport::PullRequest;
use std::time::Duration;

/// Clocks further apart than this deserve a word: ages of files are judged by them.
const APART: Duration = Duration::from_secs(120);

/// The login, the rsync there, and each path.
pub(super) async fn check(site: &str, server: &Server, account: &Account, report: &mut Report<'_>) {
    let what = format!("{site} on {}", server.name);
    let login = match connect::account(server, account, Vec::new()) {
        Ok(login) => login,
        Err(failure) => return report.bad(&what, failure.message, failure.hint),
    };
    match login.probe(&PullRequest::new().paths(account.paths.clone())).await {
        Err(error) => {
            let failure = Failure::because(&error);
            return report.bad(&what, failure.message, failure.hint);
        }
        Ok(far_end) => {
            report.good(&what, format!("{}@{} logs in, the host key is known", account.user, server.ssh.host));
            report.good(&what, format!("the far end has {}", far_end.rsync));
            if far_end.finds_changes {
                report.good(&what, "changes are found by change time".to_owned());
            } else {
                report.unchecked(&what, "no GNU find there: changes are found by size and time alone".to_owned());
            }
            if let Some(clock) = far_end.clock {
                let now = now();
                let apart = now.since(clock).max(clock.since(now));
                if apart > APART {
                    let hint = "set the clock here, or ask the host to".to_owned();
                    report.bad(&what, format!("the clocks are {} s apart", apart.as_secs()), Some(hint));
                }
            }
            for path in &account.paths {
                // A path is missing with whatever leads to it.
                if far_end.missing.iter().any(|missing| path.is_within(missing)) {
                    let hint = "mend `paths` in the configuration, or make it there".to_owned();
                    report.bad(&what, format!("{path} does not exist there"), Some(hint));
                } else {
                    report.good(&what, format!("{path} is there"));
                }
            }
            if let Some(banner) = far_end.banner {
                report.unchecked(&what, format!("the login prints \"{banner}\", which other tools stumble over"));
            }
        }
    }
    for database in &account.databases {
        report.unchecked(&what, format!("database {}: this version does not dump databases", database.name));
        check_secret(&what, "password", database.password.as_ref(), report);
    }
}
