//! [`may_lack`]: what a machine may lack without failing the tests, said aloud.

/// Whether a test may be left out because this machine lacks `what` (`mount`, `old-rsync`).
///
/// A test that cannot run fails, so that nobody takes an untested thing for a tested one, unless the variable
/// `CLONEPANEL_TESTS_MAY_LACK` names what is missing (several with commas between); then it says so on standard error,
/// which the set-up of the tests shows also for tests that pass.
///
/// # Panics
/// When the variable does not name it.
pub fn may_lack(what: &str, why: &str) {
    let allowed = std::env::var("CLONEPANEL_TESTS_MAY_LACK").unwrap_or_default();
    assert!(
        allowed.split(',').any(|name| name.trim() == what),
        "this test needs {what}: {why}; set CLONEPANEL_TESTS_MAY_LACK={what} to leave it out"
    );
    eprintln!("NOT TESTED HERE: {what} is missing: {why}");
}
