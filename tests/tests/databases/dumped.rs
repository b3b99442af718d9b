//! [`Dumped`]: a dump in memory.

use clonepanel_core::{
    problem::Problem,
    tree::{Listed, TreeSource},
};
use clonepanel_store::mysql::{DatabaseAddress, DatabaseSource, DumpDescription};
use clonepanel_tests::SqlServer;
use std::collections::BTreeMap;

/// What a dump has, by path, and what it says it lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dumped {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn root(server: &SqlServer, database: &str) -> DatabaseAddress {
    DatabaseAddress::socket(server.socket(), database, "root")
}

impl Dumped {
    pub(crate) fn of(address: DatabaseAddress) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(Self::take(&DatabaseSource::new(address)))
    }

    pub(crate) async fn take(source: &DatabaseSource) -> Self {
        let mut dumped = Self { files: BTreeMap::new(), problems: Vec::new() };
        let mut entries = source.entries().await.unwrap();
        let mut files = Vec::new();
        while let Some(listed) = entries.next().await.unwrap() {
            match listed {
                Listed::Entry(entry) if entry.has_content() => files.push(entry),
                Listed::Entry(_) => {}
                Listed::Problem(problem) => dumped.problems.push(problem),
            }
        }
        for entry in files {
            let mut stream = source.open(&entry.path).await.unwrap();
            let mut content = Vec::new();
            while let Some(piece) = stream.read().await.unwrap() {
                content.extend_from_slice(&piece);
            }
            assert_eq!(entry.len(), Some(content.len() as u64), "{}", entry.path);
            dumped.files.insert(entry.path.to_string(), content);
        }
        dumped
    }

    /// All files as a person would give them to a client: in the order of names.
    pub(crate) fn sql(&self) -> Vec<u8> {
        let sql = self.files.iter().filter(|(path, _)| path.ends_with(".sql"));
        sql.flat_map(|(_, content)| content.iter().copied()).collect()
    }

    pub(crate) fn description(&self) -> DumpDescription {
        DumpDescription::parse(&self.files["dump.json"]).unwrap()
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        let found = self.files.get(path).unwrap_or_else(|| panic!("{path} is not among {:?}", self.files.keys()));
        std::str::from_utf8(found).unwrap()
    }

    /// Says which files differ, instead of printing all of both.
    pub(crate) fn assert_same(&self, other: &Self) {
        let names = |dumped: &Self| dumped.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other));
        for (path, content) in &self.files {
            // The name of the database is in the description, and who defined what.
            if path != "dump.json" && *content != other.files[path] {
                let shown = |content: &[u8]| String::from_utf8_lossy(&content[..content.len().min(4000)]).into_owned();
                panic!("{path} differs:\n{}\n---\n{}", shown(content), shown(&other.files[path]));
            }
        }
        assert_eq!(self.description().tables, other.description().tables);
    }
}
