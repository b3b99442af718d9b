//! A dump as one file of SQL, which any client loads.

use super::{super::Restore, dump::Dump};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output::{progress::Progress, show},
};
use clonepanel_core::{
    digest::DigestBuilder,
    escape::Escaped,
    job::RestoreJob,
    observer::{Event, Observer},
    path::RelPath,
};
use serde_json::json;
use std::{
    io::{self, Write},
    path::Path,
};
use tempfile::NamedTempFile;

impl Restore {
    pub(super) async fn export(&self, context: &Context, dump: &Dump, file: &Path) -> Result<Outcome, Failure> {
        let is_stdout = file == Path::new("-");
        if is_stdout && context.output.is_json() {
            return Err(Failure::usage("--json and --export - exclude each other").hint("name a file"));
        }
        if !is_stdout && !self.overwrite && file.symlink_metadata().is_ok() {
            return Err(Failure::guard(format!("{} is there already", file.display()))
                .hint("name another file, or say --overwrite"));
        }
        let parts = parts(dump).await?;
        let (mut bytes, tables) = (0, dump.tables.len() as u64);
        let rows = dump.tables.iter().map(|table| table.rows).sum();
        if !self.dry_run {
            let failed = |error: io::Error| Failure::failed(format!("{} cannot be written: {error}", file.display()));
            if is_stdout {
                bytes = write(dump, &parts, &(), |piece| {
                    context.output.raw(piece);
                    Ok(())
                })
                .await?;
            } else {
                let progress = Progress::new(&context.output, file.display().to_string(), "written");
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                // Only its owner may read it, as it holds what people keep in databases.
                let mut whole = NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new("."))).map_err(failed)?;
                let written = write(dump, &parts, &progress, |piece| whole.write_all(piece).map_err(failed)).await;
                progress.finish(written.as_ref().err());
                bytes = written?;
                whole.as_file().sync_all().map_err(failed)?;
                let kept = if self.overwrite { whole.persist(file) } else { whole.persist_noclobber(file) };
                kept.map_err(|error| failed(error.error))?;
            }
        }
        if !is_stdout {
            context.output.line(format_args!(
                "{} {} ({}) of {} to {}",
                if self.dry_run { "would write" } else { "wrote" },
                show::counted(tables, "table"),
                show::counted(rows, "row"),
                dump.id(),
                file.display(),
            ));
        }
        Ok(Outcome::done(json!({
            "site": dump.id().source().as_str(),
            "id": dump.id().stem(),
            "database": dump.name,
            "tables": tables,
            "rows": rows,
            "bytes": bytes,
            "dry_run": self.dry_run,
        })))
    }
}

/// A part of the file.
enum Part {
    File(RelPath),
    Text(String),
}

/// What the file is made of, in the order in which a client can load it.
async fn parts(dump: &Dump) -> Result<Vec<Part>, Failure> {
    let head = format!("-- database {} of {}\n", dump.name, dump.id());
    let mut parts = vec![Part::Text(head)];
    let plan = RestoreJob::new(dump.reader.clone(), dump.path.clone()).plan().await;
    for entry in plan.map_err(|error| Failure::because(&error))?.entries {
        let is_wanted = !dump.is_part || dump.tables.iter().any(|table| belongs(&entry.path, &table.file));
        if entry.has_content() && entry.path.as_bytes().ends_with(b".sql") && is_wanted {
            parts.push(Part::File(dump.path.join(&entry.path).unwrap_or_default()));
        }
    }
    if dump.is_part {
        // Of the file of counters only a part is wanted.
        for (table, next) in dump.tables.iter().filter_map(|table| Some((table, table.auto_increment?))) {
            let name = table.name.replace('`', "``");
            parts.push(Part::Text(format!("ALTER TABLE `{name}` AUTO_INCREMENT={next};\n")));
        }
    }
    // Without this line the file was cut off.
    parts.push(Part::Text(format!("-- end of {}\n", dump.name)));
    Ok(parts)
}

/// Whether a file of a dump is a table's definition or holds rows of it.
fn belongs(path: &RelPath, table: &str) -> bool {
    let parts: Vec<_> = path.parts().collect();
    match parts[..] {
        [b"00-schema", b"20-tables", file] => file.strip_suffix(b".sql") == Some(table.as_bytes()),
        [b"10-data", folder, _] => folder == table.as_bytes(),
        _ => false,
    }
}

/// Writes the parts, each checked against the manifest.
async fn write(
    dump: &Dump,
    parts: &[Part],
    observer: &dyn Observer,
    mut out: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut bytes = 0;
    for part in parts {
        let path = match part {
            Part::File(path) => path,
            Part::Text(text) => {
                bytes += text.len() as u64;
                out(text.as_bytes())?;
                continue;
            }
        };
        let expected = dump.reader.record(path).await?.and_then(|record| record.content);
        let (mut content, mut digest) = (dump.reader.open(path).await?, DigestBuilder::new());
        while let Some(piece) = content.read().await? {
            digest.update(&piece);
            bytes += piece.len() as u64;
            out(&piece)?;
            observer.notice(&Event::Data { literal_bytes: piece.len() as u64, matched_bytes: 0 });
        }
        if Some(digest.finish()) != expected {
            let shown = Escaped(path.as_bytes());
            return Err(Failure::failed(format!("{shown} is not what was stored; what was written is not whole"))
                .hint("`clonepanel verify` tells more; an older snapshot may have it"));
        }
    }
    Ok(bytes)
}
