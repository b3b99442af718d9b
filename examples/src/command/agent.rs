//! `clonepanel agent`: the far end of the agent transport, on standard input and output.

use crate::{
    failure::{Exit, Failure, Outcome},
    signal,
};
use async_trait::async_trait;
use clap::Args;
use clonepanel_core::{
    entry::Entry,
    path::RelPath,
    problem::{Problem, Problems},
    transport::{PullRequest, PushRequest},
    tree::{EntryStream, FileSink, FileStream, TreeError, TreeSink, TreeSource, Want},
};
use clonepanel_rsync::agent::{Access, Place, ServeOptions, Served, ServedSink, ServedSource, serve};
use clonepanel_store::{LocalScan, LocalTree, Owners, SpecialBits, Unfinished};
use serde_json::json;
use std::{
    collections::HashSet,
    fs::File,
    io,
    os::fd::AsFd,
    os::unix::fs::MetadataExt,
    path::{Component, PathBuf},
};
use tokio::runtime::Builder;

/// Be the far end of a transfer, on standard input and output; started by the other end
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel agent                                    what the near end starts by itself
  clonepanel agent --read-only --root public_html --root mail

Give a key of its own to whoever may only read, with one line in ~/.ssh/authorized_keys:

  restrict,command=\"clonepanel agent --read-only --root public_html\" ssh-ed25519 AAAA... backup

Then only the named folders can be read with that key, whatever the near end asks for. Without
--read-only they can be written to as well; then files belong to whoever runs this, without setuid
bits, unless --keep-owners says otherwise. It writes
nothing but the protocol to standard output, so --json changes nothing.")]
pub(crate) struct Agent {
    /// Take nothing, only give
    #[arg(long)]
    read_only: bool,
    /// Only what lies in this folder, absolute or relative to the working directory; may be given again
    #[arg(long, value_name = "DIR")]
    root: Vec<PathBuf>,
    /// With --root, as the superuser: also give files the owners and setuid bits that the other end names
    #[arg(long, requires = "root")]
    keep_owners: bool,
}

impl Agent {
    /// It has a runtime of its own, which a standard input that never ends does not keep alive.
    pub(crate) fn run(&self) -> Result<Outcome, Failure> {
        if let Some(root) = self.root.iter().find(|root| root.components().any(|part| part == Component::ParentDir)) {
            return Err(Failure::usage(format!("--root {} leads up", root.display()))
                .hint("name the folder absolutely, or one below the working directory"));
        }
        let access = Access::full().roots(self.root.clone());
        let local = Local { dresses: self.root.is_empty() || self.keep_owners };
        let options = ServeOptions::new(if self.read_only { access.read_only() } else { access });
        let no_runtime = |error: io::Error| Failure::failed(format!("no runtime: {error}"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(no_runtime)?;
        let ended = runtime.block_on(async {
            let stopped = signal::stopped()?;
            let (input, output) = (pipe(io::stdin())?, pipe(io::stdout())?);
            tokio::select! {
                served = serve(input, output, &local, &options) => served.map_err(|error| Failure::because(&error)),
                name = stopped => Err(Failure::failed(format!("stopped by {name}"))),
            }
        });
        runtime.shutdown_background();
        ended.map(|()| Outcome::new(Exit::Done, json!({})))
    }
}

/// Without the standard library's buffer, which looks for ends of lines.
fn pipe(stream: impl AsFd) -> Result<tokio::fs::File, Failure> {
    let owned = stream.as_fd().try_clone_to_owned();
    let owned = owned.map_err(|error| Failure::failed(format!("the pipes cannot be used: {error}")))?;
    Ok(tokio::fs::File::from_std(File::from(owned)))
}

/// The folders of this machine.
struct Local {
    /// Files get the owners and special bits that the calling end names, as far as this process may.
    dresses: bool,
}

#[async_trait]
impl Served for Local {
    async fn source(&self, place: &Place, request: &PullRequest) -> Result<Box<dyn ServedSource>, TreeError> {
        Ok(Box::new(Source(tree(place).scan(request.clone()).await?)))
    }

    async fn sink(&self, place: &Place) -> Result<Box<dyn ServedSink>, TreeError> {
        // As rsync does: only the superuser can give files away.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let owners = if is_root && self.dresses { Owners::Listed } else { Owners::Mine };
        let bits = if self.dresses { SpecialBits::Set } else { SpecialBits::Drop };
        Ok(Box::new(Sink(tree(place).special_bits(bits).owners(owners).unfinished(Unfinished::Keep))))
    }
}

fn tree(place: &Place) -> LocalTree {
    LocalTree::new(place.directory()).below(place.below().clone())
}

struct Source(LocalScan);

#[async_trait]
impl TreeSource for Source {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

#[async_trait]
impl ServedSource for Source {
    async fn missing(&self, paths: &[RelPath]) -> Result<Vec<RelPath>, TreeError> {
        self.0.missing(paths).await
    }

    fn changed(&self) -> Vec<RelPath> {
        self.0.changed()
    }
}

struct Sink(LocalTree);

#[async_trait]
impl TreeSink for Sink {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.0.offer(entry).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.0.file(entry).await
    }
}

#[async_trait]
impl ServedSink for Sink {
    async fn leaving(
        &self,
        request: &PushRequest,
        staying: HashSet<RelPath>,
    ) -> Result<Result<Vec<RelPath>, Problem>, TreeError> {
        self.0.leaving(request, staying).await
    }

    async fn delete(&self, leaving: Vec<RelPath>) -> Result<(u64, Problems), TreeError> {
        self.0.delete(leaving).await
    }

    async fn finish(&self) -> Result<Problems, TreeError> {
        self.0.finish().await
    }
}
