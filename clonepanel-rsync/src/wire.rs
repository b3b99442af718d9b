//! Codecs of the rsync wire: bytes to values and back. They know no session and never consume an incomplete value.

mod cursor;
mod entry;
mod integer;
mod mux;
mod order;
mod sums;
mod token;
mod unpack;

pub(crate) use cursor::{Cursor, Stop};
pub(crate) use entry::{EntryDecoder, ListItem, Listing, WireEntry, WireKind};
pub(crate) use integer::{NDX_DEL_STATS, NDX_DONE, NDX_FLIST_EOF, NDX_FLIST_OFFSET, NdxReader, NdxWriter, put_vstring};
pub(crate) use mux::{Demux, Message, put_data, put_message};
pub(crate) use order::compare;
pub(crate) use sums::SumHead;
pub(crate) use token::{Token, TokenDecoder};
pub(crate) use unpack::Compressor;
