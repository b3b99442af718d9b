//! `[retention]`: how long snapshots are kept.

use super::{ConfigError, section::Section};
use clonepanel_core::retention::RetentionPolicy;
use std::time::Duration;

/// Reads the section. What it does not name is as in the common one; without that, it is not kept for.
pub(super) fn read(mut section: Section<'_>, common: Option<&RetentionPolicy>) -> Result<RetentionPolicy, ConfigError> {
    let mut policy = common.cloned().unwrap_or_else(RetentionPolicy::newest_only);
    if let Some(within) = section.optional::<Duration>("keep_within")? {
        policy = policy.keep_within(within);
    }
    if let Some(count) = section.optional::<u32>("hourly")? {
        policy = policy.hourly(count);
    }
    if let Some(count) = section.optional::<u32>("daily")? {
        policy = policy.daily(count);
    }
    if let Some(count) = section.optional::<u32>("weekly")? {
        policy = policy.weekly(count);
    }
    if let Some(count) = section.optional::<u32>("monthly")? {
        policy = policy.monthly(count);
    }
    if let Some(count) = section.optional::<u32>("yearly")? {
        policy = policy.yearly(count);
    }
    let nothing = section.error("it would keep nothing but the newest snapshot");
    section.finish()?;
    if policy == RetentionPolicy::newest_only() {
        return Err(nothing.hint("name how much is kept: daily = 14"));
    }
    Ok(policy)
}
