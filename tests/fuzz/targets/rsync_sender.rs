#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clonepanel_rsync::fuzz::sender(data));
