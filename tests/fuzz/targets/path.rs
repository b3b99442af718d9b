//! Paths, link targets and escapes.
#![no_main]

use clonepanel_core::{
    entry::LinkTarget,
    escape::{Escaped, unescape},
    path::{MAX_NAME_LEN, MAX_PATH_LEN, RelPath},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let shown = Escaped(data).to_string();
    assert!(!shown.contains(char::is_control));
    assert_eq!(unescape(shown.as_bytes()).as_deref(), Some(data));
    drop(unescape(data));

    let middle = data.len() / 2;
    let (Ok(one), Ok(other)) = (RelPath::try_from(&data[..middle]), RelPath::try_from(&data[middle..])) else { return };
    for part in one.parts() {
        assert!(!part.is_empty() && part != b"." && part != b".." && part.len() <= MAX_NAME_LEN);
    }
    assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    if let Ok(joined) = one.join(&other) {
        assert!(joined.as_bytes().len() <= MAX_PATH_LEN && joined >= one && joined.is_within(&one));
        assert_eq!(joined.strip_prefix(&one), Some(other.clone()));
    }
    if let Some(target) = LinkTarget::new(data.to_vec()) {
        // What stays inside by the rule stays inside when it is resolved from a tree without links.
        if target.stays_inside(&one) {
            let mut depth = one.parts().count().saturating_sub(1) as i64;
            for part in data.split(|&b| b == b'/') {
                depth += match part {
                    b"" | b"." => 0,
                    b".." => -1,
                    _ => 1,
                };
                assert!(depth >= 0);
            }
        }
    }
});
