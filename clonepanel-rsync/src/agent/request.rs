//! [`Request`]: what the calling end asks the serving end to do.

use super::field::{Fields, put_bytes, put_number, put_time};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    filter::{Filter, Rule},
    path::{MAX_PATH_LEN, RelPath},
    transport::{Deletion, PullRequest, PushRequest},
};

/// The longest name of a root, in bytes.
const MAX_ROOT: usize = MAX_PATH_LEN;
/// So many paths or rules can be named.
pub(super) const MAX_NAMED: u64 = 10_000;

const PULL: u8 = 1;
const PUSH: u8 = 2;
const PROBE: u8 = 3;

/// A root, relative to the home or absolute, and what is to be done with it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) root: Bytes,
    pub(super) task: Task,
}

#[derive(Debug, Clone)]
pub(super) enum Task {
    /// Tell whether it is there, and which of these paths are.
    Probe(Vec<RelPath>),
    Pull(PullRequest),
    Push(PushRequest),
}

impl Request {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let paths = |out: &mut Vec<u8>, paths: &[RelPath]| {
            put_number(out, paths.len() as u64);
            paths.iter().for_each(|path| put_bytes(out, path.as_bytes()));
        };
        let rules = |out: &mut Vec<u8>, filter: &Filter| {
            put_number(out, filter.rules().len() as u64);
            filter.rules().iter().for_each(|rule| put_bytes(out, &rule.wire()));
        };
        out.push(match self.task {
            Task::Probe(_) => PROBE,
            Task::Pull(_) => PULL,
            Task::Push(_) => PUSH,
        });
        put_bytes(out, &self.root);
        match &self.task {
            Task::Probe(wanted) => paths(out, wanted),
            Task::Pull(request) => {
                paths(out, request.wanted_paths());
                rules(out, request.wanted_filter());
                out.push(request.fresh_since().is_some().into());
                if let Some(since) = request.fresh_since() {
                    put_time(out, since);
                }
            }
            Task::Push(request) => {
                paths(out, request.wanted_paths());
                rules(out, request.wanted_filter());
                match request.allowed_deletion() {
                    Deletion::Keep => out.push(0),
                    Deletion::UpTo(limit) => {
                        out.push(1);
                        put_number(out, limit);
                        out.push(request.allowed_share());
                    }
                }
            }
        }
    }

    pub(super) fn parse(body: Bytes) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(body);
        let task = fields.byte()?;
        let root = fields.bytes(MAX_ROOT, "root")?;
        if root.contains(&0) {
            return Err(ProtocolError::Malformed("root"));
        }
        let task = match task {
            PROBE => Task::Probe(paths(&mut fields)?),
            PULL => {
                let request = PullRequest::new().paths(paths(&mut fields)?).filter(rules(&mut fields)?);
                let since = if flag(&mut fields)? { Some(fields.time()?) } else { None };
                Task::Pull(request.since(since))
            }
            PUSH => {
                let request = PushRequest::new().paths(paths(&mut fields)?).filter(rules(&mut fields)?);
                let is_allowed = flag(&mut fields)?;
                Task::Push(match is_allowed {
                    true => request.deletion(Deletion::UpTo(fields.number()?)).deletion_share(fields.byte()?),
                    false => request,
                })
            }
            _ => return Err(ProtocolError::Malformed("request")),
        };
        fields.end().map(|()| Self { root, task })
    }

    /// How many paths and rules it names; more than a request can hold are refused before it is sent.
    pub(super) fn is_too_long(&self) -> bool {
        let named = match &self.task {
            Task::Probe(paths) => paths.len(),
            Task::Pull(request) => request.wanted_paths().len().max(request.wanted_filter().rules().len()),
            Task::Push(request) => request.wanted_paths().len().max(request.wanted_filter().rules().len()),
        };
        let mut out = Vec::new();
        self.put(&mut out);
        named as u64 > MAX_NAMED || out.len() > super::frame::MAX_FRAME || self.root.len() > MAX_ROOT
    }
}

fn flag(fields: &mut Fields) -> Result<bool, ProtocolError> {
    match fields.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ProtocolError::Malformed("request")),
    }
}

fn paths(fields: &mut Fields) -> Result<Vec<RelPath>, ProtocolError> {
    let count = fields.number_to(MAX_NAMED, "number of paths")?;
    (0..count).map(|_| fields.path()).collect()
}

fn rules(fields: &mut Fields) -> Result<Filter, ProtocolError> {
    let count = fields.number_to(MAX_NAMED, "number of rules")?;
    let rules = (0..count).map(|_| {
        let text = fields.bytes(MAX_PATH_LEN + 2, "rule")?;
        Rule::parse(&text).map_err(|_| ProtocolError::Malformed("rule"))
    });
    rules.collect::<Result<_, _>>().map(Filter::new)
}
