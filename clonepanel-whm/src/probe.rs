//! Probes of what a site's visitors meet.

mod banner;
mod certificate;
mod connection;
mod http;

pub use banner::BannerProbe;
pub use certificate::CertificateProbe;
pub use http::HttpProbe;
