//! [`Bind`]: a real BIND on this machine, with zones from files.

use clonepanel_core::dns::{DomainName, Zone};
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A BIND on 127.0.0.1 that answers for zones from files, and transfers them to anybody. It ends when this is dropped.
#[derive(Debug)]
pub struct Bind {
    dir: TempDir,
    port: u16,
    control_port: u16,
    child: Mutex<Child>,
}

impl Bind {
    /// A server without zones.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start() -> Self {
        // Another process may take a free port in between; then the next ones are tried.
        let mut log = String::new();
        for _ in 0..10 {
            let server = Self::spawn();
            if server.answers() {
                return server;
            }
            log = server.log();
        }
        panic!("named does not start: {log}");
    }

    fn spawn() -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-bind").tempdir().expect("temporary folder");
        let (port, control_port) = (free_port(), free_port());
        fs::write(dir.path().join("named.conf"), config(dir.path(), port, control_port)).expect("named.conf");
        fs::write(dir.path().join("rndc.conf"), control(control_port)).expect("rndc.conf");
        let log = fs::File::create(dir.path().join("log")).expect("log");
        let child = Command::new(program("named"))
            .args(["-g", "-n", "1", "-c"])
            .arg(dir.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start named");
        Self { dir, port, control_port, child: Mutex::new(child) }
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

    /// Makes it answer for a zone with this master file, in the place of one of that name.
    ///
    /// # Errors
    /// What `named-checkzone` says about the file; the server then has the zone as it was.
    pub fn write(&self, zone: &str, text: &str) -> Result<(), String> {
        let file = self.file(zone);
        let new = file.with_extension("new");
        fs::write(&new, text).expect("write a zone");
        let checked = run(Command::new(program("named-checkzone")).args(["-q", "-k", "fail", zone]).arg(&new));
        if !checked.status.success() {
            let loud = run(Command::new(program("named-checkzone")).args(["-k", "fail", zone]).arg(&new));
            return Err(String::from_utf8_lossy(&loud.stdout).into_owned());
        }
        let is_new = !file.exists();
        fs::rename(&new, &file).expect("rename a zone");
        if is_new {
            let clause = format!("{{ type primary; file \"{}\"; }};", file.display());
            self.control(&["addzone", zone, &clause]);
        }
        Ok(())
    }

    /// Reads the file of a zone anew, and waits until it is served.
    ///
    /// # Panics
    /// When it is not served in time.
    pub fn reload(&self, zone: &str, serial: u32) {
        self.control(&["reload", zone]);
        let started = Instant::now();
        while self.serial(zone) != Some(serial) {
            assert!(started.elapsed() < Duration::from_secs(20), "serial {serial} is not served: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes a zone.
    pub fn remove(&self, zone: &str) {
        self.control(&["delzone", zone]);
        fs::remove_file(self.file(zone)).expect("remove a zone");
    }

    /// The serial that it answers with.
    #[must_use]
    pub fn serial(&self, zone: &str) -> Option<u32> {
        let answer = self.dig(&["+short", zone, "SOA"]);
        answer.split(' ').nth(2)?.parse().ok()
    }

    /// The zone as it gives it away; `None` when it has none of that name.
    ///
    /// # Panics
    /// When what it gives cannot be read.
    #[must_use]
    pub fn transfer(&self, zone: &DomainName) -> Option<Zone> {
        let text = self.dig(&["+noall", "+answer", "+noidnout", &zone.to_string(), "AXFR"]);
        let read = Zone::parse(zone, text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        let is_there = read.soa().is_some();
        is_there.then_some(read)
    }

    /// What dig says.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn dig(&self, arguments: &[&str]) -> String {
        let mut dig = Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &self.port.to_string(), "+norecurse", "+tries=1", "+time=5"]).args(arguments);
        String::from_utf8_lossy(&run(&mut dig).stdout).lines().filter(|line| !line.starts_with(';')).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        )
    }

    fn control(&self, arguments: &[&str]) {
        let mut rndc = Command::new(program("rndc"));
        rndc.args(["-p", &self.control_port.to_string(), "-c"]).arg(self.dir.path().join("rndc.conf")).args(arguments);
        let done = run(&mut rndc);
        assert!(done.status.success(), "rndc {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn file(&self, zone: &str) -> PathBuf {
        self.dir.path().join(format!("{zone}.db"))
    }

    fn answers(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if self.child.lock().expect("no panic").try_wait().expect("wait").is_some() {
                return false;
            }
            if self.log().contains("running") && !self.dig(&["+short", "CH", "TXT", "version.bind"]).is_empty() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("no panic");
        drop(child.kill());
        drop(child.wait());
    }
}

/// Well known and used on the loopback for the length of a test.
const CONTROL_SECRET: &str = "Y2xvbmVwYW5lbC10ZXN0LWNvbnRyb2wta2V5LTAwMDA=";

fn config(dir: &Path, port: u16, control_port: u16) -> String {
    let dir = dir.display();
    format!(
        "key control {{ algorithm hmac-sha256; secret \"{CONTROL_SECRET}\"; }};\n\
         controls {{ inet 127.0.0.1 port {control_port} allow {{ 127.0.0.1; }} keys {{ control; }}; }};\n\
         options {{ directory \"{dir}\"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }};\n\
         listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify no; allow-new-zones yes;\n\
         allow-transfer {{ any; }}; zone-statistics no; version \"test\"; }};\n"
    )
}

fn control(port: u16) -> String {
    format!(
        "key control {{ algorithm hmac-sha256; secret \"{CONTROL_SECRET}\"; }};\n\
         options {{ default-key control; default-server 127.0.0.1; default-port {port}; }};\n"
    )
}

fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|place| Path::new(place).join(name));
    places.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} is missing: tests/run installs it"))
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}: tests/run installs it"))
}

/// A port that is free for UDP and TCP.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("bind").local_addr().expect("address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
