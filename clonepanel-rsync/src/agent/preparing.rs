//! [`Asked`]: a content that is wanted, and the way in which it is asked for.

use super::{
    delta::{Strength, options, signature_len},
    message::How,
};
use crate::delta::SignatureBuilder;
use bytes::Bytes;
use clonepanel_core::{
    digest::DigestBuilder,
    entry::Entry,
    path::RelPath,
    tree::{Basis, TreeError},
};
use std::sync::Arc;

/// A basis is read in pieces of at most this length, in bytes.
pub(super) const MAX_READ: u64 = 1 << 20;
/// A content of this length costs no more than the hash of its basis would.
const TINY: u64 = 64;
/// A content that is shorter travels whole: its differences would save little, and take a round trip.
const SMALL: u64 = 16 << 10;

/// A content that is wanted.
pub(super) struct Asked {
    pub(super) entry: Entry,
    pub(super) basis: Option<Arc<dyn Basis>>,
    pub(super) way: Way,
}

/// From the cheapest to the surest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Only if it is another one than the basis.
    Compare,
    Delta(Strength),
    Whole,
}

impl Asked {
    pub(super) fn new(entry: Entry, basis: Option<Arc<dyn Basis>>) -> Self {
        let basis = basis.filter(|basis| !basis.is_empty());
        let len = entry.len().unwrap_or(0);
        let way = match &basis {
            Some(basis) if basis.len() == len && len > TINY => Way::Compare,
            Some(_) if len >= SMALL => Way::Delta(Strength::Short),
            _ => Way::Whole,
        };
        Self { entry, basis, way }
    }

    /// The next way, after the content turned out to be another one than the basis.
    pub(super) fn differs(mut self) -> Self {
        let is_small = self.entry.len().unwrap_or(0) < SMALL;
        self.way = if is_small { Way::Whole } else { Way::Delta(Strength::Short) };
        self
    }

    /// The next way, after what came did not pass its check; `None` after the last one.
    pub(super) fn surer(mut self) -> Option<Self> {
        self.way = match self.way {
            Way::Delta(Strength::Short) => Way::Delta(Strength::Full),
            Way::Compare | Way::Delta(Strength::Full) => Way::Whole,
            Way::Whole => return None,
        };
        Some(self)
    }

    /// How many bytes of signature asking takes.
    pub(super) fn signature_len(&self) -> usize {
        match (self.way, &self.basis) {
            (Way::Delta(strength), Some(basis)) => {
                let options = options(self.entry.path.name(), basis.len(), strength);
                options.map_or(0, |options| signature_len(basis.len(), options))
            }
            _ => 0,
        }
    }

    /// Reads the basis as the way needs it. A basis that cannot be read is none.
    pub(super) async fn prepare(mut self) -> (Self, How) {
        if let Some(basis) = &self.basis {
            match how(basis.as_ref(), self.entry.path.name(), self.way).await {
                Ok(How::Whole) => {}
                Ok(how) => return (self, how),
                Err(_) => self.basis = None,
            }
        }
        self.way = Way::Whole;
        (self, How::Whole)
    }
}

async fn how(basis: &dyn Basis, name: &[u8], way: Way) -> Result<How, TreeError> {
    match way {
        Way::Compare => {
            let mut digest = DigestBuilder::new();
            each_piece(basis, |piece| digest.update(piece)).await?;
            Ok(How::Unless(digest.finish()))
        }
        Way::Delta(strength) => {
            let Some(options) = options(name, basis.len(), strength) else { return Ok(How::Whole) };
            let mut builder = SignatureBuilder::new(options);
            each_piece(basis, |piece| builder.update(piece)).await?;
            // It suits: see `options`. A basis that grew meanwhile is no basis.
            Ok(builder.finish().map_or(How::Whole, |signature| How::Delta {
                basis_len: basis.len(),
                signature: signature.into_bytes().into(),
            }))
        }
        Way::Whole => Ok(How::Whole),
    }
}

async fn each_piece(basis: &dyn Basis, mut take: impl FnMut(&[u8])) -> Result<(), TreeError> {
    let mut offset = 0;
    while offset < basis.len() {
        let piece = read_exactly(basis, offset, MAX_READ.min(basis.len() - offset) as usize).await?;
        take(&piece);
        offset += piece.len() as u64;
    }
    Ok(())
}

/// A basis of another maker may not keep to its contract; fewer bytes would put everything out of step.
pub(super) async fn read_exactly(basis: &dyn Basis, offset: u64, len: usize) -> Result<Bytes, TreeError> {
    let bytes = basis.read_at(offset, len).await?;
    if bytes.len() == len { Ok(bytes) } else { Err(TreeError::Damaged { path: RelPath::root() }) }
}
