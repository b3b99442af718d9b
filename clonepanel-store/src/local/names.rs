//! [`Names`]: what users and groups are called here.

use bytes::Bytes;
use std::{collections::HashMap, path::Path};

/// Names by number, from `/etc/passwd` and `/etc/group`. What is not listed there (a directory service) has no name.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Bytes>,
    groups: HashMap<u32, Bytes>,
}

impl Names {
    pub(super) fn read() -> Self {
        Self { users: table(Path::new("/etc/passwd")), groups: table(Path::new("/etc/group")) }
    }

    pub(super) fn user(&self, uid: u32) -> Option<Bytes> {
        self.users.get(&uid).cloned()
    }

    pub(super) fn group(&self, gid: u32) -> Option<Bytes> {
        self.groups.get(&gid).cloned()
    }
}

/// Lines of `name:password:number:...`; the first name of a number counts.
fn table(path: &Path) -> HashMap<u32, Bytes> {
    let text = std::fs::read(path).unwrap_or_default();
    let mut names = HashMap::new();
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':');
        let (name, number) = (fields.next(), fields.nth(1));
        let number = number.and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        if let (Some(name @ [_, ..]), Some(number)) = (name, number)
            && name.len() <= 255
        {
            names.entry(number).or_insert_with(|| Bytes::copy_from_slice(name));
        }
    }
    names
}
