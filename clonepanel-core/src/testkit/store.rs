//! The contract of [`SnapshotStore`](crate::store::SnapshotStore), rule by rule.

mod content;
mod copies;
mod distrust;
mod fixture;
mod tally;
mod visibility;
mod writers;

pub use content::{
    s5_unchanged_entries_read_back_as_their_base, s6_older_snapshots_never_change, s8_deleting_leaves_the_others,
    s10_everything_round_trips, s12_a_missing_content_does_not_fail_the_commit, s14_what_was_not_listed_is_carried,
};
pub use copies::{
    s17_a_copy_is_the_snapshot_itself, s18_a_known_content_is_not_wanted_again, s19_an_incomplete_copy_is_not_committed,
};
pub use distrust::s16_what_is_distrusted_is_asked_for_again;
pub use fixture::StoreFixture;
pub use tally::s15_numbers_count_what_is_committed;
pub use visibility::{
    s1_uncommitted_is_invisible, s2_commit_publishes_exactly_once, s3_commit_is_atomic, s7_lists_are_oldest_first,
    s9_absent_ids_are_not_found,
};
pub use writers::{s4_a_dropped_writer_costs_nothing, s11_a_second_writer_is_busy, s13_ids_grow};

/// Hands the names of all rules to another macro, behind what is given.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_rules {
    ([$($then:tt)*] $($given:tt)*) => {
        $($then)*! {
            $($given)*
            s1_uncommitted_is_invisible
            s2_commit_publishes_exactly_once
            s3_commit_is_atomic
            s4_a_dropped_writer_costs_nothing
            s5_unchanged_entries_read_back_as_their_base
            s6_older_snapshots_never_change
            s7_lists_are_oldest_first
            s8_deleting_leaves_the_others
            s9_absent_ids_are_not_found
            s10_everything_round_trips
            s11_a_second_writer_is_busy
            s12_a_missing_content_does_not_fail_the_commit
            s13_ids_grow
            s14_what_was_not_listed_is_carried
            s15_numbers_count_what_is_committed
            s16_what_is_distrusted_is_asked_for_again
            s17_a_copy_is_the_snapshot_itself
            s18_a_known_content_is_not_wanted_again
            s19_an_incomplete_copy_is_not_committed
        }
    };
}

/// Runs the contract of [`SnapshotStore`](crate::store::SnapshotStore): a module `name` with one `#[test]` per rule, each with
/// a fresh fixture, an expression of a type that is a [`StoreFixture`]. No runtime is needed.
///
/// ```
/// use async_trait::async_trait;
/// use clonepanel_core::{memory::MemoryStore, store::SnapshotStore, testkit::store::StoreFixture};
/// use std::sync::Arc;
///
/// struct Fixture(MemoryStore);
///
/// #[async_trait]
/// impl StoreFixture for Fixture {
///     async fn open(&self) -> Arc<dyn SnapshotStore> {
///         Arc::new(self.0.clone())
///     }
/// }
///
/// clonepanel_core::store_contract!(memory, Fixture(MemoryStore::new()));
/// ```
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $fixture:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__store_rules!([$crate::__store_tests]($fixture));
        }
    };
}

/// One test per rule.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    (($fixture:expr) $($rule:ident)*) => {$(
        #[test]
        fn $rule() {
            let fixture = $fixture;
            $crate::testkit::block_on($crate::testkit::store::$rule(&fixture));
        }
    )*};
}

/// Fails the rule `$id` unless the condition holds.
macro_rules! hold {
    ($id:literal, $condition:expr, $($what:tt)+) => {
        assert!($condition, "{}: {}", $id, format_args!($($what)+))
    };
}
pub(crate) use hold;

#[cfg(test)]
macro_rules! table {
    (() $($rule:ident)*) => {
        &[$((stringify!($rule), |fixture| super::block_on($rule(fixture)))),*]
    };
}

/// All rules by name, to be run one by one.
#[cfg(test)]
#[allow(clippy::type_complexity)]
pub(super) const RULES: &[(&str, fn(&dyn StoreFixture))] = __store_rules!([table]());
