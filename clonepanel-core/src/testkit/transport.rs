//! The contract of [`Transport`](crate::transport::Transport), rule by rule.

mod fixture;
mod pull;
mod push;
mod trouble;

#[cfg(unix)]
pub use fixture::Directory;
pub use fixture::{Lack, TransportFixture};
pub use pull::{
    t1_a_pull_is_a_copy, t2_unchanged_files_do_not_travel, t3_changed_files_travel_in_part, t7_excluded_paths_stay_away,
};
pub use push::{
    t9_a_push_is_exact, t10_nothing_is_deleted_unasked, t11_only_wanted_paths_are_touched,
    t12_contents_are_compared_when_asked,
};
pub use trouble::{
    t4_a_dropped_pull_harms_nothing, t5_vanished_files_are_problems, t6_paths_that_leave_are_refused,
    t8_errors_of_the_sink_end_the_pull,
};

/// Hands the names of all rules to another macro, behind what is given.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_rules {
    ([$($then:tt)*] $($given:tt)*) => {
        $($then)*! {
            $($given)*
            t1_a_pull_is_a_copy
            t2_unchanged_files_do_not_travel
            t3_changed_files_travel_in_part
            t4_a_dropped_pull_harms_nothing
            t5_vanished_files_are_problems
            t6_paths_that_leave_are_refused
            t7_excluded_paths_stay_away
            t8_errors_of_the_sink_end_the_pull
            t9_a_push_is_exact
            t10_nothing_is_deleted_unasked
            t11_only_wanted_paths_are_touched
            t12_contents_are_compared_when_asked
        }
    };
}

/// Runs the contract of [`Transport`](crate::transport::Transport): a module `name` with one `#[test]` per rule, each with a
/// fresh fixture, an expression of a type that is a [`TransportFixture`]. No runtime is needed.
///
/// ```
/// use async_trait::async_trait;
/// use clonepanel_core::{
///     memory::{MemoryTransport, MemoryTree},
///     path::RelPath,
///     testkit::transport::TransportFixture,
///     transport::Transport,
/// };
/// use std::sync::Arc;
///
/// struct Fixture(MemoryTree);
///
/// #[async_trait]
/// impl TransportFixture for Fixture {
///     async fn place(&self, tree: &MemoryTree) {
///         self.0.assign(tree);
///     }
///     async fn transport(&self) -> Arc<dyn Transport> {
///         Arc::new(MemoryTransport::new(self.0.clone()))
///     }
///     async fn far(&self) -> MemoryTree {
///         self.0.fork()
///     }
///     async fn remove(&self, path: &RelPath) {
///         self.0.remove(path);
///     }
/// }
///
/// clonepanel_core::transport_contract!(memory, Fixture(MemoryTree::new()));
/// ```
#[macro_export]
macro_rules! transport_contract {
    ($name:ident, $fixture:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__transport_rules!([$crate::__transport_tests]($fixture));
        }
    };
}

/// One test per rule.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_tests {
    (($fixture:expr) $($rule:ident)*) => {$(
        #[test]
        fn $rule() {
            let fixture = $fixture;
            $crate::testkit::block_on($crate::testkit::transport::$rule(&fixture));
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
pub(super) const RULES: &[(&str, fn(&dyn TransportFixture))] = __transport_rules!([table]());
