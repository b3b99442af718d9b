//! Filter rules from anybody, against paths from anybody: no rule takes more than its share of time, and what is told to the far
//! end is what is applied here.
#![no_main]

use clonepanel_core::{
    filter::{Filter, Rule},
    path::RelPath,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&b| b == b'\n');
    let Some(Ok(path)) = lines.next().map(RelPath::try_from) else { return };
    let Ok(filter) = Filter::parse(lines) else { return };
    for rule in filter.rules() {
        let wire = rule.wire();
        assert_eq!(Rule::parse(&wire).as_ref(), Ok(rule), "the far end is told another rule");
    }
    for is_dir in [false, true] {
        if filter.excludes(&path, is_dir) {
            assert!(filter.excludes_with_parents(&path, is_dir));
        }
    }
    assert!(!filter.excludes(&RelPath::root(), true));
});
