//! The commands, one a file.

pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod dns;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod ls;
pub(crate) mod monitor;
pub(crate) mod prune;
pub(crate) mod replicate;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod status;
pub(crate) mod verify;
