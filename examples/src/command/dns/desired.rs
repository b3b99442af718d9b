//! [`Desired`]: the zone as it is to be.

use super::servers::cluster;
use crate::{config::Config, failure::Failure};
use clap::{Args, ValueEnum};
use clonepanel_core::{
    dns::{DomainName, MAX_ZONE_FILE_LEN, Zone},
    job::Nameservers,
};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The zone as it is to be.
#[derive(Debug, Args)]
pub(super) struct Desired {
    /// The desired zone, as a master file (RFC 1035); `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "from")]
    file: Option<PathBuf>,
    /// Instead of a file: as this server has it now
    #[arg(long, value_name = "SERVER", conflicts_with = "file")]
    from: Option<String>,
    /// Whose name servers each copy gets at the top of the zone: its own (usual with --from), or the desired ones
    #[arg(long, value_name = "WHOSE")]
    nameservers: Option<Whose>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Whose {
    Own,
    Desired,
}

/// The zone as it is to be, or nothing: then each server's own copy is taken for that.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// What is desired, as a master file (RFC 1035); `-` for standard input. Without it, what each server's WHM says
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Instead of a file: as this server has it now
    #[arg(long, value_name = "SERVER", conflicts_with = "file")]
    from: Option<String>,
}

impl Wanted {
    pub(super) async fn read_if_given(&self, config: &Config, name: &DomainName) -> Result<Option<Zone>, Failure> {
        if self.file.is_none() && self.from.is_none() {
            return Ok(None);
        }
        read(self.file.as_deref(), self.from.as_ref(), config, name).await.map(Some)
    }
}

impl Desired {
    pub(super) fn nameservers(&self) -> Nameservers {
        match (self.nameservers, &self.from) {
            (Some(Whose::Own), _) | (None, Some(_)) => Nameservers::AsThere,
            (Some(Whose::Desired), _) | (None, None) => Nameservers::AsDesired,
        }
    }

    /// Reads it.
    pub(super) async fn read(&self, config: &Config, name: &DomainName) -> Result<Zone, Failure> {
        read(self.file.as_deref(), self.from.as_ref(), config, name).await
    }
}

async fn read(file: Option<&Path>, from: Option<&String>, config: &Config, name: &DomainName) -> Result<Zone, Failure> {
    match (from, file) {
        (Some(server), _) => {
            let one = cluster(config, std::slice::from_ref(server), Nameservers::AsDesired)?;
            match one.read(name).await.pop() {
                Some(copy) => copy.zone.map_err(|error| Failure::because(&error).within(server)),
                None => Err(Failure::usage(format!("there is no server `{server}`"))),
            }
        }
        (None, Some(file)) => parse(name, file),
        (None, None) => Err(Failure::usage("say what is desired: a file, or --from SERVER")),
    }
}

fn parse(name: &DomainName, file: &Path) -> Result<Zone, Failure> {
    let shown = file.display();
    let mut text = Vec::new();
    let limit = MAX_ZONE_FILE_LEN as u64 + 1;
    let read = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    Zone::parse(name, &text)
        .map_err(|error| Failure::usage(format!("{shown}, {error}")).hint("`clonepanel dns show` writes such a file"))
}
