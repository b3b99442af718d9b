//! `clonepanel init`: a sample configuration.

use crate::failure::{Failure, Outcome};
use crate::{cli::Common, output::Output};
use clap::Args;
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

const SAMPLE: &str = include_str!("init/sample.toml");

/// Write a commented sample configuration; an existing one is never overwritten
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel init                      writes ./clonepanel.toml
  clonepanel init ~/.config/clonepanel
  clonepanel init && $EDITOR clonepanel.toml && clonepanel check")]
pub(crate) struct Init {
    /// The folder to write `clonepanel.toml` to; made if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl Init {
    pub(crate) fn run(&self, common: &Common, output: &Output) -> Result<Outcome, Failure> {
        if common.config.is_some() || common.store.is_some() {
            return Err(Failure::usage("init takes neither --config nor --store").hint("clonepanel init [DIR]"));
        }
        let path = self.folder.join("clonepanel.toml");
        let failed = |error: io::Error| Failure::failed(format!("{} cannot be written: {error}", path.display()));
        fs::create_dir_all(&self.folder).map_err(failed)?;
        // Names of servers and users are nobody else's business.
        let mut file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Failure::guard(format!("{} is there already; it is left as it is", path.display()))
                    .hint("name another folder: clonepanel init DIR"));
            }
            Err(error) => return Err(failed(error)),
        };
        file.write_all(SAMPLE.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        output.line(format_args!("wrote {}", path.display()));
        output.line("next: put your servers and sites into it, then `clonepanel check`");
        Ok(Outcome::done(json!({ "path": path.to_string_lossy() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_sample_is_a_good_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clonepanel.toml");
        fs::write(&path, SAMPLE).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.sites.len(), 1);
        assert!(config.retention.is_some());
    }

    #[test]
    fn every_commented_setting_of_the_sample_is_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clonepanel.toml");
        // `#key = ...` and `#[section]` are settings; `# words` are remarks.
        let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
        let lines = SAMPLE.lines().map(|line| if is_setting(line) { line.trim_start_matches('#') } else { line });
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.servers.len(), 2);
        assert!(config.sites[0].spare.is_some());
    }
}
