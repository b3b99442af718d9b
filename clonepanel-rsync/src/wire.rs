//! Codecs of the rsync wire: bytes to values and back. They know no session and never consume an incomplete value.

mod cursor;
mod entry;
mod entry_encoder;
mod integer;
mod mux;
mod order;
mod pack;
mod sums;
mod token;
mod token_encoder;
mod unpack;

pub(crate) use cursor::{Cursor, Stop};
pub(crate) use entry::{EntryDecoder, ListItem, Listing, WireEntry, WireKind};
pub(crate) use entry_encoder::{Content, EntryEncoder, LinkPlace};
pub(crate) use integer::{
    NDX_DEL_STATS, NDX_DONE, NDX_FLIST_EOF, NDX_FLIST_OFFSET, NdxReader, NdxWriter, put_varint, put_vstring,
};
pub(crate) use mux::{Demux, Message, Peer, put_data, put_io_error, put_message, put_no_send};
pub(crate) use order::compare;
pub(crate) use sums::SumHead;
pub(crate) use token::{Token, TokenDecoder};
pub(crate) use token_encoder::TokenEncoder;
pub(crate) use unpack::Compressor;
