//! [`DnsProvider`]: who holds zones, and the model of a zone that works for any of them.
//!
//! A change is a [`ZonePlan`] first, between the [`Zone`] as it is and as it is desired; a [`PlanGuard`] lets it pass; then it
//! is applied to exactly the revision that it was made for.
//!
//! ```
//! use clonepanel_core::dns::{DomainName, PlanGuard, Zone, ZonePlan};
//!
//! let name: DomainName = "example.org".parse()?;
//! let now = Zone::parse(&name, b"$TTL 3600\n@ NS ns1.host.example.\nwww A 192.0.2.1\n")?;
//! let desired = Zone::parse(&name, b"$TTL 3600\n@ NS ns1.host.example.\nwww 60 A 192.0.2.2\n")?;
//! let plan = ZonePlan::between(&now, &desired)?;
//! assert_eq!(plan.to_string(), "- www.example.org. 3600 A 192.0.2.1\n+ www.example.org. 60 A 192.0.2.2\n");
//! let guarded = PlanGuard::new().check(&plan)?;
//! assert_eq!(guarded.plan().changes().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//! The numbered rules (`D1`, `D2`, …) stand at the methods and are the tests of `testkit::dns`; a provider of your own runs
//! them with [`dns_contract!`](crate::dns_contract).

mod capabilities;
mod data;
mod error;
mod guard;
mod name;
mod plan;
mod record_type;
mod set;
mod strings;
mod words;
mod zone;
mod zone_file;

pub use capabilities::Capabilities;
pub use data::{Caa, MAX_DATA_OCTETS, Opaque, OpaqueForm, RecordData, Soa, Srv};
pub use error::DnsError;
pub use guard::{Guarded, PlanGuard, PlanRefused, Risk};
pub use name::{DomainName, MAX_LABEL_OCTETS, MAX_NAME_OCTETS, NameError};
pub use plan::{Change, DifferentZones, ZonePlan};
pub use record_type::{RecordType, UnknownRecordType};
pub use set::{MAX_TTL_SECS, RecordKey, RecordSet, RecordSetError};
pub use strings::{MAX_STRING_OCTETS, Strings};
pub use words::WordsError;
pub use zone::{Outside, Revision, Zone};
pub use zone_file::{MAX_ZONE_FILE_LEN, ZoneFileError};

use async_trait::async_trait;
use std::sync::Arc;

/// Holds zones and changes them: a panel, a name server, a service.
#[async_trait]
pub trait DnsProvider: Send + Sync {
    /// What the provider is called in messages: `reseller@alpha.example.net`. Holds no secret.
    fn endpoint(&self) -> &str;

    /// What can be written.
    fn capabilities(&self) -> Capabilities;

    /// The zones that this provider controls for us: **D8** all of them, sorted, none twice, and each can be read.
    ///
    /// # Errors
    /// [`DnsError`] by what to do next; [`DnsError::Unsupported`] where there is no way to ask.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn zones(&self) -> Result<Vec<DomainName>, DnsError>;

    /// A zone as it is now.
    ///
    /// - **D6** [`DnsError::NotFound`] when there is none: never an empty zone, and no other error is taken for that;
    /// - **D9** every record comes back as it is: text of any octets and length, names with `*`, `_` and `+`, any time to live;
    /// - **D11** reading changes nothing: the revision stays until somebody writes, and then it is another.
    ///
    /// # Errors
    /// [`DnsError`] by what to do next.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError>;

    /// Changes a zone as planned, and tells its new revision.
    ///
    /// - **D1** what is read afterwards is what the plan says, to the time to live, at the revision that was told;
    /// - **D2** a zone that is not at the plan's revision is a [`DnsError::Conflict`], and nothing was changed;
    /// - **D3** an empty plan changes nothing, not even the revision, which it tells;
    /// - **D4** what the plan does not name is as it was, records of types that are not read here among it; only the serial
    ///   in the SOA moves;
    /// - **D5** what the [capabilities](Self::capabilities) exclude is [`DnsError::Unsupported`] before anything is sent;
    /// - **D7** all of the plan or nothing of it, also when it is dropped at any point;
    /// - **D10** of two plans for one revision, applied at the same time, exactly one is done, and the other is a conflict.
    ///
    /// # Errors
    /// [`DnsError`] by what to do next. [`DnsError::Unsettled`] when the zone may be old or new.
    ///
    /// # Cancel safety
    /// When dropped, the zone is old or new; read it.
    async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: DnsProvider + ?Sized> DnsProvider for $pointer {
            fn endpoint(&self) -> &str {
                (**self).endpoint()
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            async fn zones(&self) -> Result<Vec<DomainName>, DnsError> {
                (**self).zones().await
            }
            async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError> {
                (**self).read(zone).await
            }
            async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
                (**self).apply(plan).await
            }
        }
    )*};
}
forward!(&T, Arc<T>, Box<T>);
