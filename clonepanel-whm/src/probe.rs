//! Probes of what a site's visitors meet.

mod banner;
mod certificate;
mod connection;
mod http;
mod page;

pub use banner::BannerProbe;
pub use certificate::CertificateProbe;
pub use http::HttpProbe;
pub use page::PageExpectation;
