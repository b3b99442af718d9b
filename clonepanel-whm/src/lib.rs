//! The hosting side of ClonePanel: the zones of a WHM server, with a reseller's rights.
//!
//! [`WhmClient`] speaks WHM's API 1, and an account's UAPI through it, over TLS that is never unchecked; [`WhmDns`] is a
//! [`DnsProvider`](clonepanel_core::dns::DnsProvider) on top of it.
//!
//! [`HttpProbe`], [`CertificateProbe`] and [`BannerProbe`] look at a site as its visitors do.
//!
//! [`Proof`] asks the authoritative name servers directly what they answer.
//!
//! A write whose answer is lost is never sent again blindly: the zone is read back and compared. What the server tells is
//! read leniently (numbers as text, lists that are `null`) and believed sparingly: every change is read back.

mod client;
mod dns;
mod envelope;
mod error;
mod loose;
mod options;
mod probe;
mod proof;
mod refusals;
mod tls;

pub use client::WhmClient;
pub use dns::WhmDns;
pub use error::WhmError;
pub use options::{Trust, WhmOptions};
pub use probe::{BannerProbe, CertificateProbe, HttpProbe, PageExpectation};
pub use proof::{DnsTransport, Finding, Proof, ServerProof, all_keys};
