//! Back ends that break one rule of their contract each, and keep all others: they show that the rules bite.

mod dns;
mod store;
mod transport;

pub use dns::{DnsRule, DnsSaboteur};
pub use store::{StoreRule, StoreSaboteur};
pub use transport::{TransportRule, TransportSaboteur};

/// An enum of rule numbers.
macro_rules! rules {
    ($(#[$doc:meta])* $name:ident: $($rule:ident)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum $name {
            $($rule),*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule),*];
        }
    };
}
use rules;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;
    use std::{
        collections::BTreeSet,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    /// The rules that stand in the documentation as `**S1**`.
    fn documented(text: &str, letter: char) -> BTreeSet<String> {
        let marks = text.split("**").skip(1).step_by(2);
        marks
            .filter(|mark| mark.strip_prefix(letter).is_some_and(|number| number.parse::<u8>().is_ok()))
            .map(str::to_owned)
            .collect()
    }

    /// `S10` for `s10_everything_round_trips`.
    fn number(rule: &str) -> String {
        rule.split('_').next().unwrap().to_uppercase()
    }

    #[test]
    fn every_documented_rule_has_a_test_and_a_saboteur() {
        let documented_store = documented(include_str!("../store.rs"), 'S');
        assert_eq!(documented_store, testkit::store::RULES.iter().map(|(name, _)| number(name)).collect());
        assert_eq!(documented_store, StoreRule::ALL.iter().map(|rule| format!("{rule:?}")).collect());
        let documented_transport = documented(include_str!("../transport.rs"), 'T');
        assert_eq!(documented_transport, testkit::transport::RULES.iter().map(|(name, _)| number(name)).collect());
        assert_eq!(documented_transport, TransportRule::ALL.iter().map(|rule| format!("{rule:?}")).collect());
        let documented_dns = documented(include_str!("../dns.rs"), 'D');
        assert_eq!(documented_dns, testkit::dns::RULES.iter().map(|(name, _)| number(name)).collect());
        assert_eq!(documented_dns, DnsRule::ALL.iter().map(|rule| format!("{rule:?}")).collect());
        assert_eq!((documented_store.len(), documented_transport.len(), documented_dns.len()), (19, 12, 11));
    }

    /// What a rule that fails says; `None` when it holds.
    fn complaint(run: impl FnOnce()) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.unwrap_or_else(|| panic.downcast_ref::<&str>().copied().unwrap_or("?").to_owned()))
    }

    /// Exactly the rule that is broken fails, and says so under its own number.
    fn check(saboteur: &str, rule: &str, complaint: Option<&str>) {
        match complaint {
            Some(text) => {
                assert_eq!(number(rule), saboteur, "{rule} fails on the saboteur of another rule: {text}");
                assert!(text.starts_with(&format!("{saboteur}: ")), "{rule} fails for another reason: {text}");
            }
            None => assert_ne!(number(rule), saboteur, "{rule} does not notice its saboteur"),
        }
    }

    #[test]
    fn each_store_rule_fails_on_its_saboteur_alone() {
        for (name, rule) in testkit::store::RULES {
            assert_eq!(complaint(|| rule(&StoreSaboteur::honest())), None, "{name}");
            for breaks in StoreRule::ALL {
                let complaint = complaint(|| rule(&StoreSaboteur::new(*breaks)));
                check(&format!("{breaks:?}"), name, complaint.as_deref());
            }
        }
    }

    #[test]
    fn each_transport_rule_fails_on_its_saboteur_alone() {
        for (name, rule) in testkit::transport::RULES {
            assert_eq!(complaint(|| rule(&TransportSaboteur::honest())), None, "{name}");
            for breaks in TransportRule::ALL {
                let complaint = complaint(|| rule(&TransportSaboteur::new(*breaks)));
                check(&format!("{breaks:?}"), name, complaint.as_deref());
            }
        }
    }

    #[test]
    fn each_dns_rule_fails_on_its_saboteur_alone() {
        for (name, rule) in testkit::dns::RULES {
            assert_eq!(complaint(|| rule(&DnsSaboteur::honest())), None, "{name}");
            for breaks in DnsRule::ALL {
                let complaint = complaint(|| rule(&DnsSaboteur::new(*breaks)));
                check(&format!("{breaks:?}"), name, complaint.as_deref());
            }
        }
    }
}
