#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clonepanel_rsync::fuzz::agent_sender(data));
