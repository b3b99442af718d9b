//! The jobs: what is done with back ends, from the start to the end.
//!
//! A job owns all that it does: nothing goes on after its future is dropped, and each can be run again at any time. What has
//! consequences can be shown before: [`RestoreJob::plan`], [`RestoreJob::plan_push`], [`PruneJob::plan`],
//! [`ReplicateJob::plan`], [`DnsCluster::plan`].

mod backup;
mod copies;
mod copying;
mod dns_cluster;
mod monitor;
mod part;
mod prune;
mod push_plan;
mod recorder;
mod replicate;
mod restore;
mod restored;
mod sparing;
mod verify;

pub use backup::{BackupError, BackupJob, BackupOutcome, PartOutcome};
pub use copies::KnownCopies;
pub use copying::{Copied, CopyFailure};
pub use dns_cluster::{
    ClusterPlan, ClusterRefused, CopyChange, CopyOutcome, DnsCluster, Nameservers, ZoneCopy, is_validation,
};
pub use monitor::{Monitor, MonitorEvent, MonitorObserver, Target};
pub use prune::{PruneError, PruneJob, PruneOutcome};
pub use push_plan::PushPlan;
pub use recorder::HealthRecorder;
pub use replicate::{ReplicateError, ReplicateJob, ReplicateOutcome, ReplicatePlan};
pub use restore::{RestoreError, RestoreJob, RestoreOutcome, RestorePlan};
pub use verify::{VerifyError, VerifyJob, VerifyOutcome};
