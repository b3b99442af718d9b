//! [`Nginx`]: a real nginx on this machine, with certificates of its own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// An nginx on 127.0.0.1 with one port without encryption and one for each [`Certificate`]. It ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    dir: TempDir,
    port: u16,
    encrypted: [u16; 3],
    child: Child,
}

/// What an encrypted port shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Certificate {
    /// For `example.org`, valid for ten years.
    Good,
    /// For `example.org`, and no longer valid.
    Expired,
    /// For another name.
    OtherName,
}

impl Nginx {
    /// A server whose answers are what the directives `locations` of nginx say.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start(locations: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-nginx").tempdir().expect("temporary folder");
        certificates(dir.path());
        // Another process may take a free port in between; then the next ones are tried.
        for _ in 0..10 {
            let ports: [u16; 4] = std::array::from_fn(|_| free_port());
            fs::write(dir.path().join("nginx.conf"), config(dir.path(), ports, locations)).expect("nginx.conf");
            let mut child = spawn(dir.path());
            if answers(&mut child, ports[0]) {
                return Self { dir, port: ports[0], encrypted: [ports[1], ports[2], ports[3]], child };
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("nginx does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// The port without encryption.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port that shows a certificate.
    #[must_use]
    pub const fn encrypted_port(&self, certificate: Certificate) -> u16 {
        self.encrypted[certificate as usize]
    }

    /// The authority of the certificates, as PEM.
    #[must_use]
    pub fn authority(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("authority.pem")).expect("authority")
    }

    /// Sends the server a signal, by its name.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill").success());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(dir: &Path, ports: [u16; 4], locations: &str) -> String {
    let (place, [plain, encrypted @ ..]) = (dir.display(), ports);
    let names = ["good", "expired", "other"];
    let server = |listen: String| format!("server {{ {listen} server_name example.org; {locations} }}\n");
    let encrypted = encrypted.iter().zip(names).map(|(port, name)| {
        server(format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {place}/{name}.pem; ssl_certificate_key {place}/key.pem;"
        ))
    });
    let servers: String = std::iter::once(server(format!("listen 127.0.0.1:{plain};"))).chain(encrypted).collect();
    // One process, so that a signal is for all of it.
    format!(
        "daemon off; master_process off; worker_processes 1; pid {place}/pid; error_log {place}/log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; default_type text/html; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; \
         fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n{servers}}}\n"
    )
}

fn certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority");
    fs::write(dir.join("authority.pem"), authority.pem()).expect("authority");
    let key = KeyPair::generate().expect("key");
    fs::write(dir.join("key.pem"), key.serialize_pem()).expect("key");
    for (file, name, until) in
        [("good", "example.org", 4096), ("expired", "example.org", 2021), ("other", "example.net", 4096)]
    {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &authority).expect("certificate");
        fs::write(dir.join(format!("{file}.pem")), certificate.pem()).expect("certificate");
    }
}

fn spawn(dir: &Path) -> Child {
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).expect("nginx: tests/run installs it");
    Command::new(program)
        .arg("-e")
        .arg(dir.join("log"))
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start nginx")
}

fn answers(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if child.try_wait().expect("wait").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("bind").local_addr().expect("address").port()
}
