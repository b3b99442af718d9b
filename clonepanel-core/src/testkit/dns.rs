//! The contract of [`DnsProvider`](crate::dns::DnsProvider), rule by rule.

mod apply;
mod conflict;
mod fixture;
mod read;

pub use apply::{
    d1_what_is_planned_is_read_back, d3_an_empty_plan_changes_nothing, d4_the_rest_is_untouched,
    d5_what_cannot_be_written_is_refused_before, d7_all_or_nothing,
};
pub use conflict::{d2_a_moved_zone_is_a_conflict, d10_one_of_two_writers_wins};
pub use fixture::DnsFixture;
pub use read::{
    d6_absence_is_said_and_never_guessed, d8_all_zones_are_listed, d9_every_record_round_trips,
    d11_reading_changes_nothing,
};

/// Hands the names of all rules to another macro, behind what is given.
#[doc(hidden)]
#[macro_export]
macro_rules! __dns_rules {
    ([$($then:tt)*] $($given:tt)*) => {
        $($then)*! {
            $($given)*
            d1_what_is_planned_is_read_back
            d2_a_moved_zone_is_a_conflict
            d3_an_empty_plan_changes_nothing
            d4_the_rest_is_untouched
            d5_what_cannot_be_written_is_refused_before
            d6_absence_is_said_and_never_guessed
            d7_all_or_nothing
            d8_all_zones_are_listed
            d9_every_record_round_trips
            d10_one_of_two_writers_wins
            d11_reading_changes_nothing
        }
    };
}

/// Runs the contract of [`DnsProvider`](crate::dns::DnsProvider): a module `name` with one `#[test]` per rule, each with a
/// fresh fixture, an expression of a type that is a [`DnsFixture`]. No runtime is needed.
///
/// ```
/// use async_trait::async_trait;
/// use clonepanel_core::{
///     dns::{DnsProvider, DomainName, Zone},
///     memory::MemoryDns,
///     testkit::dns::DnsFixture,
/// };
/// use std::sync::Arc;
///
/// struct Fixture(MemoryDns);
///
/// #[async_trait]
/// impl DnsFixture for Fixture {
///     async fn place(&self, zone: &Zone) {
///         self.0.place(zone);
///     }
///     async fn provider(&self) -> Arc<dyn DnsProvider> {
///         Arc::new(self.0.clone())
///     }
///     async fn far(&self, name: &DomainName) -> Option<Zone> {
///         self.0.zone(name)
///     }
/// }
///
/// clonepanel_core::dns_contract!(memory, Fixture(MemoryDns::new()));
/// ```
#[macro_export]
macro_rules! dns_contract {
    ($name:ident, $fixture:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__dns_rules!([$crate::__dns_tests]($fixture));
        }
    };
}

/// One test per rule.
#[doc(hidden)]
#[macro_export]
macro_rules! __dns_tests {
    (($fixture:expr) $($rule:ident)*) => {$(
        #[test]
        fn $rule() {
            let fixture = $fixture;
            $crate::testkit::block_on($crate::testkit::dns::$rule(&fixture));
        }
    )*};
}

#[cfg(test)]
macro_rules! table {
    (() $($rule:ident)*) => {
        &[$((stringify!($rule), |fixture| super::block_on($rule(fixture)))),*]
    };
}

/// All rules by name, to be run one by one.
#[cfg(test)]
#[allow(clippy::type_complexity)]
pub(super) const RULES: &[(&str, fn(&dyn DnsFixture))] = __dns_rules!([table]());
