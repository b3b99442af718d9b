//! One line of a manifest: refused, or exactly what our encoder writes.
#![no_main]

use clonepanel_core::manifest::{decode_record, encode_record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = decode_record(data) {
        let mut text = Vec::new();
        encode_record(&record, &mut text).expect("decoded, so writable");
        let data = data.strip_suffix(b"\n").unwrap_or(data);
        assert_eq!(text.strip_suffix(b"\n").unwrap_or(&text), data);
    }
});
