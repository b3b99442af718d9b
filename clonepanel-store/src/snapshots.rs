//! [`HardLinkStore`]: snapshots as directory trees of hard links.

mod adopt;
mod basis;
mod commit;
mod content;
mod copy;
mod damage;
mod draft;
mod format;
mod incoming;
mod leftover;
mod lock;
mod measure;
mod offer;
mod options;
mod place;
mod queue;
mod reader;
mod remove;
mod settle;
mod space;
mod staging;
mod store;
mod sweep;
mod table;
mod work;
mod writer;

pub use options::StoreOptions;
pub use store::HardLinkStore;

pub(crate) use basis::{Both, StoredFile};
pub(crate) use staging::random_name;
