//! [`Target`]: the database that is written to, of the configuration or named by a URL.

use super::super::{Restore, destination::find};
use crate::{
    config::{Account, Site},
    context::Catalogue,
    database::{Reached, SiteDatabase, encrypted},
    failure::Failure,
};
use clonepanel_core::escape::Escaped;
use clonepanel_store::mysql::{DatabaseAddress, EventState};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use url::Url;

/// The database that is written to.
pub(super) struct Target {
    way: Way,
    /// What it is called in messages.
    pub(super) shown: String,
    /// How a later command names it.
    pub(super) option: String,
    pub(super) events: EventState,
}

enum Way {
    Configured(Box<SiteDatabase>),
    Address(DatabaseAddress),
}

impl Target {
    /// The target of a restore of the database `name`.
    pub(super) fn of(restore: &Restore, catalogue: &Catalogue, name: &str) -> Result<Self, Failure> {
        let word = match (&restore.target.to_database, &restore.target.to_account) {
            (Some(place), _) => place.as_str(),
            (None, None) => "primary",
            (None, Some(account)) => account.to_str().filter(|word| is_word(word)).ok_or_else(|| {
                Failure::usage("a database goes to that of an account of the site, or to a URL")
                    .hint("say --to-database primary, spare or mysql://USER@HOST/NAME")
            })?,
        };
        if !is_word(word) {
            return Self::at_url(word, restore);
        }
        if restore.database.password().is_some() {
            return Err(Failure::usage("the password of a database of the configuration is found there")
                .hint("write password_env or password_file into the configuration"));
        }
        let Some(config) = &catalogue.config else {
            return Err(Failure::usage(format!(
                "--to-database {word} needs a configuration that names the site's accounts"
            ))
            .hint("say --to-database mysql://USER@HOST/NAME"));
        };
        let (site, account, server) = find(config, &restore.selector.site, word)?;
        let database = paired(site, account, name, word)?;
        let shown = Escaped(format!("database {} of {}", database.name, account.server).as_bytes()).to_string();
        Ok(Self {
            way: Way::Configured(Box::new(SiteDatabase::new(server, account, database))),
            shown,
            option: word.to_owned(),
            // A copy beside the original does not do what the original does.
            events: if word == "primary" { EventState::AsDumped } else { EventState::Disabled },
        })
    }

    fn at_url(text: &str, restore: &Restore) -> Result<Self, Failure> {
        // Whatever stands before the @ may have a password in it.
        let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("...@{rest}"));
        let bad = |why: &str| {
            Failure::usage(format!("{} is no address of a database: {why}", Escaped(shown.as_bytes())))
                .hint("it is primary, spare, or mysql://USER@HOST[:PORT]/NAME, with ?socket=PATH for a socket, ?tls=on, ?tls=off or ?ca_file=PATH")
        };
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return Err(bad("it begins with mysql://"));
        }
        if url.password().is_some() {
            // Not even in the message.
            return Err(Failure::usage("a password does not belong on a command line, where others can read it")
                .hint("leave it out of the URL, and say --password-env NAME or --password-file FILE"));
        }
        let decoded =
            |part: &str| percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| bad("it is no text"));
        let (user, name) = (decoded(url.username())?, decoded(url.path().trim_start_matches('/'))?);
        if user.is_empty() {
            return Err(bad("it has no user"));
        }
        if name.is_empty() || name.contains('/') {
            return Err(bad("it has no name of a database"));
        }
        let (mut socket, mut tls, mut ca_file) = (None, None, None);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("socket", path) => socket = Some(PathBuf::from(path)),
                ("tls", "on") => tls = Some(true),
                ("tls", "off") => tls = Some(false),
                ("ca_file", path) => ca_file = Some(PathBuf::from(path)),
                _ => return Err(bad("it has a setting that is not known")),
            }
        }
        let mut address = match (socket, url.host_str()) {
            (Some(socket), _) => DatabaseAddress::socket(socket, name, user),
            (None, Some(host)) if !host.is_empty() => {
                let host = host.trim_matches(['[', ']']);
                let address = DatabaseAddress::tcp(host, url.port().unwrap_or(3306), name, user);
                encrypted(address, host, tls, ca_file.as_deref())
            }
            (None, _) => return Err(bad("it has no host")),
        };
        if let Some(password) = restore.database.password() {
            let fetched = password.fetch();
            address = address.password(fetched.map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))?);
        }
        Ok(Self {
            shown: address.to_string(),
            way: Way::Address(address),
            option: Escaped(text.as_bytes()).to_string(),
            events: EventState::Disabled,
        })
    }

    /// Makes the way there, which lasts as long as what is returned, and does the first thing.
    pub(super) async fn reach<T, E, F>(
        &self,
        first: impl Fn(DatabaseAddress) -> F,
    ) -> Result<(Reached, Result<T, E>), String>
    where
        F: Future<Output = Result<T, E>>,
    {
        match &self.way {
            Way::Configured(database) => database.reach(first).await,
            Way::Address(address) => Ok((Reached::direct(address.clone()), first(address.clone()).await)),
        }
    }

    pub(super) fn keeps_events_quiet(&self) -> bool {
        self.events == EventState::Disabled
    }
}

fn is_word(text: &str) -> bool {
    matches!(text, "primary" | "spare")
}

/// The database of an account that has what is called `name` at the primary: by that name, by `pair`, or by order.
fn paired<'a>(
    site: &Site,
    account: &'a Account,
    name: &str,
    word: &str,
) -> Result<&'a crate::config::Database, Failure> {
    let here = &account.databases;
    let by_pair = || here.iter().find(|database| database.pair.as_deref() == Some(name));
    let by_order = || {
        let position = site.primary.databases.iter().position(|database| database.name == name)?;
        here.get(position).filter(|database| database.pair.is_none())
    };
    let found = match word {
        "spare" => by_pair().or_else(by_order),
        _ => here.iter().find(|database| database.name == name),
    };
    found.ok_or_else(|| {
        Failure::usage(format!("the account of {} at {} has no database for {name}", site.name, account.server))
            .hint("add it to the configuration, or say --to-database mysql://USER@HOST/NAME")
    })
}
