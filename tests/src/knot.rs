//! [`Knot`]: a real Knot DNS on this machine.

use crate::bind::{UPDATE_KEY, after, dig, free_port, program, run, serial, transfer};
use clonepanel_core::dns::{DomainName, Zone};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A Knot DNS on 127.0.0.1 with zones of fixed names, which takes updates with [`UPDATE_KEY`]. It ends when this is dropped.
#[derive(Debug)]
pub struct Knot {
    dir: TempDir,
    port: u16,
    child: Mutex<Child>,
}

impl Knot {
    /// A server that will have zones of these names.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start(zones: &[&str]) -> Self {
        // Another process may take a free port in between; then the next one is tried.
        let mut log = String::new();
        for _ in 0..10 {
            let server = Self::spawn(zones);
            if server.answers() {
                return server;
            }
            log = server.log();
        }
        panic!("knotd does not start: {log}");
    }

    fn spawn(zones: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-knot").tempdir().expect("temporary folder");
        let port = free_port();
        let file = dir.path().join("knot.conf");
        fs::write(&file, config(dir.path(), port, zones)).expect("knot.conf");
        let log = fs::File::create(dir.path().join("log")).expect("log");
        let child = Command::new(program("knotd"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("start knotd");
        Self { dir, port, child: Mutex::new(child) }
    }

    /// The port that it answers on, over UDP and TCP.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What the server has written about itself.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Makes it answer for this zone, one of its names.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn place(&self, zone: &Zone) {
        let name = zone.name().to_string().trim_end_matches('.').to_owned();
        let (zone, new) = after(zone, serial(self.port, &name));
        fs::write(self.dir.path().join(format!("{name}.zone")), zone.to_string()).expect("write a zone");
        let done = run(Command::new(program("knotc"))
            .arg("-s")
            .arg(self.dir.path().join("knot.sock"))
            .args(["zone-reload", &name]));
        assert!(done.status.success(), "knotc: {}", String::from_utf8_lossy(&done.stderr));
        let started = Instant::now();
        while serial(self.port, &name) != Some(new) {
            assert!(started.elapsed() < Duration::from_secs(20), "serial {new} is not served: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The zone as it gives it away; `None` when it has none of that name.
    ///
    /// # Panics
    /// When what it gives cannot be read.
    #[must_use]
    pub fn transfer(&self, zone: &DomainName) -> Option<Zone> {
        transfer(self.port, zone)
    }

    fn answers(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if self.child.lock().expect("no panic").try_wait().expect("wait").is_some() {
                return false;
            }
            if self.dir.path().join("knot.sock").exists()
                && !dig(self.port, &["+short", "CH", "TXT", "version.server"]).is_empty()
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("no panic");
        drop(child.kill());
        drop(child.wait());
    }
}

fn config(dir: &Path, port: u16, zones: &[&str]) -> String {
    let dir = dir.display();
    let (key, secret) = UPDATE_KEY;
    let mut text = format!(
        "server:\n  rundir: \"{dir}\"\n  listen: 127.0.0.1@{port}\n  version: \"test\"\n  udp-workers: 1\n  tcp-workers: 2\n\
         control:\n  listen: \"{dir}/knot.sock\"\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n  storage: \"{dir}\"\n\
         key:\n  - id: {key}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         acl:\n  - id: update\n    key: {key}\n    action: [transfer, update]\n\
         \x20 - id: look\n    address: 127.0.0.1\n    action: transfer\n\
         template:\n  - id: default\n    storage: \"{dir}\"\n    file: \"%s.zone\"\n    acl: [update, look]\n\
         \x20   zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n\
         zone:\n"
    );
    for zone in zones {
        writeln!(text, "  - domain: {zone}").expect("write to a string");
    }
    text
}
