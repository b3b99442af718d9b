//! [`DumpedTables`]: the files of a dump in a snapshot, by table.

use super::{
    super::{
        DumpDescription,
        format::{
            definition::TableDefinition,
            description::MAX_DESCRIPTION,
            row_file::{Head, RowFileReader},
        },
        layout,
    },
    error::VersionsError,
};
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    path::RelPath,
    store::SnapshotReader,
};
use std::collections::BTreeMap;

/// The longest definition of a table, in bytes.
const MAX_DEFINITION: usize = 16 << 20;

/// The files of a dump in a snapshot.
pub(super) struct DumpedTables<'a> {
    reader: &'a dyn SnapshotReader,
    pub(super) description: DumpDescription,
    /// By the names of their files.
    files: BTreeMap<String, TableFiles>,
}

/// The files of one table, with their contents' digests.
#[derive(Default)]
pub(super) struct TableFiles {
    pub(super) definition: Option<(RelPath, FileDigest)>,
    pub(super) rows: BTreeMap<RelPath, FileDigest>,
}

impl<'a> DumpedTables<'a> {
    /// `None` when the snapshot has no whole dump at `dump`.
    pub(super) async fn of(reader: &'a dyn SnapshotReader, dump: &RelPath) -> Result<Option<Self>, VersionsError> {
        let mut files: BTreeMap<String, TableFiles> = BTreeMap::new();
        let mut described = None;
        let mut records = reader.records().await?;
        while let Some(record) = records.next().await? {
            let path = record.entry.path;
            let Some((below, digest)) = path.strip_prefix(dump).zip(record.content) else { continue };
            let Ok(below) = std::str::from_utf8(below.as_bytes()) else { continue };
            if below == layout::DESCRIPTION {
                described = Some((path, digest));
            } else if let Some(stem) = below.strip_prefix(layout::TABLES).and_then(|rest| rest.strip_prefix('/')) {
                let stem = stem.strip_suffix(".sql").unwrap_or(stem).to_owned();
                files.entry(stem).or_default().definition = Some((path, digest));
            } else if let Some(rest) = below.strip_prefix(layout::ROWS).and_then(|rest| rest.strip_prefix('/'))
                && let Some((stem, _)) = rest.split_once('/')
            {
                files.entry(stem.to_owned()).or_default().rows.insert(path, digest);
            }
        }
        let Some((path, digest)) = described else { return Ok(None) };
        let text = whole(reader, &path, digest, MAX_DESCRIPTION).await?;
        let description =
            DumpDescription::parse(&text).map_err(|error| VersionsError::unusable(&path, error.to_string()))?;
        Ok(Some(Self { reader, description, files }))
    }

    pub(super) fn table(&self, stem: &str) -> Option<&TableFiles> {
        self.files.get(stem)
    }

    /// The columns that tell the rows of a table apart; `None` when there are none.
    pub(super) async fn key(&self, files: &TableFiles) -> Result<Option<Vec<String>>, VersionsError> {
        let Some((path, digest)) = &files.definition else { return Ok(None) };
        let text = whole(self.reader, path, *digest, MAX_DEFINITION).await?;
        let text = String::from_utf8(text).map_err(|_| VersionsError::unusable(path, "it is not text"))?;
        let (_, definition) =
            TableDefinition::parse_file(&text).map_err(|error| VersionsError::unusable(path, error.to_string()))?;
        Ok(definition.key())
    }

    /// Hands the rows of a file to `each` in batches, each row as `(…)`.
    pub(super) async fn rows(
        &self,
        path: &RelPath,
        expected: FileDigest,
        mut each: impl AsyncFnMut(&Head, Vec<Vec<u8>>) -> Result<(), VersionsError>,
    ) -> Result<(), VersionsError> {
        let unusable = |why: &dyn std::fmt::Display| VersionsError::unusable(path, why.to_string());
        let (mut content, mut digest) = (self.reader.open(path).await?, DigestBuilder::new());
        let mut file = RowFileReader::default();
        while let Some(piece) = content.read().await? {
            digest.update(&piece);
            let mut rows = Vec::new();
            file.feed(&piece, |row| rows.push(row.to_vec())).map_err(|error| unusable(&error))?;
            if let Some(head) = file.head() {
                each(head, rows).await?;
            }
        }
        file.finish().map_err(|error| unusable(&error))?;
        if digest.finish() == expected { Ok(()) } else { Err(unusable(&"it is not what was stored")) }
    }
}

/// A file that is short enough to be held.
async fn whole(
    reader: &dyn SnapshotReader,
    path: &RelPath,
    expected: FileDigest,
    longest: usize,
) -> Result<Vec<u8>, VersionsError> {
    if expected.len > longest as u64 {
        return Err(VersionsError::unusable(path, "it is too long"));
    }
    let (mut text, mut digest) = (Vec::new(), DigestBuilder::new());
    let mut content = reader.open(path).await?;
    while let Some(piece) = content.read().await? {
        digest.update(&piece);
        text.extend_from_slice(&piece);
    }
    if digest.finish() == expected { Ok(text) } else { Err(VersionsError::unusable(path, "it is not what was stored")) }
}
