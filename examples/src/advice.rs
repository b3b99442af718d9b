//! [`advice`]: what somebody can do about an error of a back end.

use clonepanel_core::{store::StoreError, transport::TransportError, tree::TreeError};
use std::error::Error;

/// What to do about it, for the first error of the chain that is known.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = None
            .or_else(|| error.downcast_ref().and_then(for_transport))
            .or_else(|| error.downcast_ref().and_then(for_store))
            .or_else(|| error.downcast_ref().and_then(for_tree));
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

fn for_transport(error: &TransportError) -> Option<String> {
    let host = |endpoint: &str| {
        let login = endpoint.split(':').next().unwrap_or(endpoint);
        login.to_owned()
    };
    match error {
        TransportError::Denied { endpoint, .. } => Some(format!(
            "see that `ssh {}` logs in without a question: name the right identity_file, and put its public key into \
             ~/.ssh/authorized_keys there",
            host(endpoint)
        )),
        TransportError::Interrupted { .. } => {
            Some("run it again: what arrived already is not fetched a second time".to_owned())
        }
        TransportError::NotFound { endpoint, .. } => {
            Some(format!("paths are relative to the home folder; see `ssh {} ls`", host(endpoint)))
        }
        TransportError::Protocol { endpoint, .. } => Some(format!(
            "see that `ssh {} true` prints nothing: a greeting in .bashrc or .profile there disturbs the transfer",
            host(endpoint)
        )),
        TransportError::Remote { .. } => Some("see what the far end said; when it may pass, run it again".to_owned()),
        TransportError::Unreachable { .. } => {
            Some("see that the name and the port are right and that the network is up".to_owned())
        }
        TransportError::Unsupported { endpoint, .. } => {
            Some(format!("see that `ssh {} rsync --version` answers", host(endpoint)))
        }
        TransportError::Untrusted { .. } => Some(
            "compare the host key with the one that the host publishes, then put it into the known_hosts file \
             (`ssh-keyscan HOST`); it is never accepted unseen"
                .to_owned(),
        ),
        // Its source says more.
        TransportError::Sink(_) | TransportError::Source(_) => None,
        _ => None,
    }
}

fn for_store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Busy { .. } => {
            Some("wait until the other run has ended; a lock of a dead one frees itself".to_owned())
        }
        StoreError::Damaged { .. } => {
            Some("`clonepanel verify` lists all that is damaged; other snapshots can still be used".to_owned())
        }
        StoreError::NoSpace { .. } => Some(NO_SPACE.to_owned()),
        StoreError::NotFound { .. } => Some("`clonepanel snapshots` lists what there is".to_owned()),
        StoreError::Tree(error) => for_tree(error),
        StoreError::Unusable { .. } => Some("name an empty folder, or one that `clonepanel backup` made".to_owned()),
        _ => None,
    }
}

fn for_tree(error: &TreeError) -> Option<String> {
    match error {
        TreeError::Damaged { .. } => {
            Some("`clonepanel verify` lists all that is damaged; an older snapshot may have it whole".to_owned())
        }
        TreeError::Denied { .. } => Some("see who owns it and who may write there".to_owned()),
        TreeError::NoSpace { .. } => Some(NO_SPACE.to_owned()),
        _ => None,
    }
}

const NO_SPACE: &str = "make room (`clonepanel prune`, or move the store to a larger disk) and run it again";

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::path::RelPath;

    #[test]
    fn the_cause_gives_the_advice() {
        let full = TransportError::Sink(TreeError::NoSpace { path: RelPath::root() });
        assert_eq!(advice(&full).as_deref(), Some(NO_SPACE));
        assert_eq!(advice(&std::io::Error::other("x")), None);
    }
}
