//! [`in_own_mounts`]: a test with mounts of its own, which vanish with it.

use std::process::Command;

const MARK: &str = "CLONEPANEL_IN_OWN_MOUNTS";

/// Runs `body` of the test called `name` in a mount namespace of its own (and, without root rights, a user namespace in which
/// it has them), by starting this test program anew for that one test.
///
/// Nothing that it mounts is seen outside, and the kernel unmounts it when the process ends, however it ends.
///
/// # Panics
/// When the inner test fails; when namespaces cannot be had and [`may_lack`](crate::may_lack) does not allow that.
pub fn in_own_mounts(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).args(arguments).env(MARK, "1");
        command
    };
    let mountable = |arguments: &[&str]| {
        let probe = unshare(arguments).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let Some(arguments) = [&[][..], &["--user", "--map-root-user"]].into_iter().find(|arguments| mountable(arguments))
    else {
        return crate::may_lack("mount", "no mount namespace can be had here");
    };
    let program = std::env::current_exe().expect("this program");
    let output = unshare(arguments).arg(program).args(["--exact", name, "--nocapture"]).output().expect("unshare");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{name} in its own mounts:\n{text}");
}
