//! [`Dump`]: a dump in a snapshot, as its `dump.json` describes it.

use crate::{command::ls::missing, failure::Failure, nearest::nearest};
use clonepanel_core::{
    digest::DigestBuilder, escape::Escaped, path::RelPath, snapshot_id::SnapshotId, store::SnapshotReader,
};
use clonepanel_store::mysql::{DumpDescription, DumpedTable, ObjectKind};
use std::sync::Arc;

/// No description is longer.
const MAX_DESCRIPTION: u64 = 64 << 20;

/// A dump in a snapshot, or some tables of it.
pub(super) struct Dump {
    pub(super) reader: Arc<dyn SnapshotReader>,
    pub(super) path: RelPath,
    /// The name of the database where the dump was taken.
    pub(super) name: String,
    /// The tables that are to be restored.
    pub(super) tables: Vec<DumpedTable>,
    /// These are not all.
    pub(super) is_part: bool,
    /// The snapshot took it over from an older one.
    pub(super) is_older: bool,
    description: DumpDescription,
}

/// Where the dump of a database stands in a snapshot.
pub(super) fn place(name: &str) -> Result<RelPath, Failure> {
    let path = RelPath::try_from(format!("databases/{name}").as_str()).ok();
    path.filter(|_| !name.contains('/') && !name.is_empty())
        .ok_or_else(|| Failure::usage(format!("{:?} is no name of a database", name)))
}

impl Dump {
    pub(super) async fn open(
        reader: Arc<dyn SnapshotReader>,
        path: RelPath,
        tables: &[String],
    ) -> Result<Self, Failure> {
        if reader.record(&path).await?.is_none() {
            return Err(missing(&*reader, &path).await);
        }
        let described = path.join(&RelPath::try_from("dump.json").unwrap_or_default()).unwrap_or_default();
        let Some(record) = reader.record(&described).await? else {
            return Err(Failure::failed(format!(
                "{} has no whole dump there: {described} is missing",
                reader.info().id
            ))
            .hint("name an older snapshot, as in SITE@3d"));
        };
        let text = read(&*reader, &described).await?;
        let description = DumpDescription::parse(&text)
            .map_err(|error| Failure::failed(format!("{described} cannot be read: {error}")))?;
        let mut dump = Self {
            name: Escaped(path.name()).to_string(),
            tables: description.tables.clone(),
            is_part: !tables.is_empty(),
            is_older: record.marks.carried,
            reader,
            path,
            description,
        };
        if let Some(unknown) = tables.iter().find(|name| dump.tables.iter().all(|table| table.name != **name)) {
            let failure = Failure::failed(format!("the dump has no table `{}`", Escaped(unknown.as_bytes())));
            return Err(match nearest(unknown, dump.tables.iter().map(|table| table.name.as_str())) {
                Some(near) => failure.hint(format!("did you mean `{}`?", Escaped(near.as_bytes()))),
                None => failure,
            });
        }
        dump.tables.retain(|table| tables.is_empty() || tables.contains(&table.name));
        Ok(dump)
    }

    pub(super) fn id(&self) -> &SnapshotId {
        &self.reader.info().id
    }

    /// Whether events would be made.
    pub(super) fn has_events(&self) -> bool {
        !self.is_part && self.description.objects.iter().any(|object| object.kind == ObjectKind::Event)
    }
}

/// A small file, checked.
async fn read(reader: &dyn SnapshotReader, path: &RelPath) -> Result<Vec<u8>, Failure> {
    let damaged = || Failure::failed(format!("{path} is not what was stored")).hint("`clonepanel verify` tells more");
    let expected = reader.record(path).await?.and_then(|record| record.content).ok_or_else(damaged)?;
    if expected.len > MAX_DESCRIPTION {
        return Err(Failure::failed(format!("{path} is too long")));
    }
    let (mut text, mut digest) = (Vec::new(), DigestBuilder::new());
    let mut content = reader.open(path).await?;
    while let Some(piece) = content.read().await? {
        digest.update(&piece);
        text.extend_from_slice(&piece);
    }
    if digest.finish() == expected { Ok(text) } else { Err(damaged()) }
}
