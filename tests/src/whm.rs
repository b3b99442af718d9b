//! [`WhmServer`]: a stand-in for a WHM server, over real TLS and in front of a real BIND.
//!
//! No licence of a real one runs in tests. It behaves as recorded traffic and cPanel's documentation say, with the odd parts:
//! lines counted from 0, payloads in any order, `@` refused, forms decoded once, errors with status 200, typographic quotes.

mod fault;
mod form;
mod function;
mod http;
mod zone;

pub use fault::Fault;

use crate::Bind;
use clonepanel_core::{
    dns::{DomainName, Zone},
    secret::Secret,
};
use clonepanel_whm::{Trust, WhmClient, WhmOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::runtime::Runtime;

const USER: &str = "reseller";
const TOKEN: &str = "TOKENWHICHMUSTNOTBESEEN";
/// What an ordinary reseller may call, as far as it is played here.
const FUNCTIONS: [&str; 9] = [
    "adddns",
    "applist",
    "get_domain_info",
    "killdns",
    "listzones",
    "mass_edit_dns_zone",
    "parse_dns_zone",
    "uapi_cpanel",
    "version",
];

/// A WHM server on 127.0.0.1. It ends when this is dropped.
#[derive(Debug)]
pub struct WhmServer {
    panel: Arc<Panel>,
    port: u16,
    authority_pem: String,
    certificate_pem: String,
    runtime: Option<Runtime>,
}

/// What the connections share.
#[derive(Debug)]
struct Panel {
    bind: Bind,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    zones: BTreeMap<String, zone::Lines>,
    /// Domains and the accounts that own them.
    accounts: BTreeMap<String, String>,
    functions: BTreeSet<String>,
    faults: VecDeque<(String, Fault)>,
    calls: Vec<String>,
    under_way: usize,
    most_under_way: usize,
    requests_seen: Vec<String>,
}

impl Panel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl WhmServer {
    /// A server without zones, with a certificate for 127.0.0.1 from an authority of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::start_named("127.0.0.1")
    }

    /// The same with a certificate for another name.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_named(name: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("authority");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &authority).expect("a certificate");
        let config = server_config(leaf.der().clone(), key.serialize_der());

        let state = State { functions: FUNCTIONS.map(str::to_owned).into(), ..State::default() };
        let panel = Arc::new(Panel { bind: Bind::start(), state: Mutex::new(state) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("address").port();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).expect("a listener")
        };
        runtime.spawn(http::serve(listener, config, Arc::clone(&panel)));
        Self { panel, port, authority_pem: authority.pem(), certificate_pem: leaf.pem(), runtime: Some(runtime) }
    }

    /// How a client that is let in, and knows the authority, is set up.
    #[must_use]
    pub fn options(&self) -> WhmOptions {
        self.options_with(TOKEN).trust(Trust::Pem(self.authority_pem.clone().into_bytes()))
    }

    /// The same with another token, and trusting this machine's authorities only.
    #[must_use]
    pub fn options_with(&self, token: &str) -> WhmOptions {
        WhmOptions::new(self.url(), USER, Secret::new(token))
    }

    /// A client that is let in.
    ///
    /// # Panics
    /// When its options are refused.
    #[must_use]
    pub fn client(&self) -> WhmClient {
        WhmClient::new(&self.options()).expect("options")
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Who is let in.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        USER
    }

    /// The server's own certificate.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The token that is let in.
    #[must_use]
    pub const fn token(&self) -> &'static str {
        TOKEN
    }

    /// The name server that it drives.
    #[must_use]
    pub fn bind(&self) -> &Bind {
        &self.panel.bind
    }

    /// Puts a zone here, in the place of one of that name, as a person at the panel would.
    ///
    /// # Panics
    /// When the name server refuses it.
    pub fn place(&self, zone: &Zone) {
        let name = plain(zone.name());
        let mut state = self.panel.state();
        let lines = zone::Lines::of(zone, state.zones.get(&name).map(zone::Lines::serial));
        let serial = lines.serial();
        self.panel.bind.write(&name, &lines.text()).expect("a zone that BIND takes");
        state.zones.insert(name.clone(), lines);
        drop(state);
        self.panel.bind.reload(&name, serial);
    }

    /// The lines of a zone as they are in its file.
    ///
    /// # Panics
    /// When there is no such zone.
    #[must_use]
    pub fn file(&self, zone: &DomainName) -> String {
        self.panel.state().zones.get(&plain(zone)).expect("the zone is there").text()
    }

    /// Makes an account own a domain.
    pub fn own(&self, domain: &DomainName, user: &str) {
        self.panel.state().accounts.insert(plain(domain), user.to_owned());
    }

    /// Takes the right to call a function away.
    pub fn forbid(&self, function: &str) {
        self.panel.state().functions.remove(function);
    }

    /// Makes the next call of a function go wrong; several are used up in order.
    pub fn fault(&self, function: &str, fault: Fault) {
        self.panel.state().faults.push_back((function.to_owned(), fault));
    }

    /// The functions that were called so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.panel.state().calls.clone()
    }

    /// How many calls were under way at the same time, at most.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        self.panel.state().most_under_way
    }

    /// The request lines that came, with their queries.
    #[must_use]
    pub fn request_lines(&self) -> Vec<String> {
        self.panel.state().requests_seen.clone()
    }
}

impl Drop for WhmServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its tasks hold the name server, which must end; and whoever drops this may be in a runtime of their own.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10))).join();
            drop(ended);
        }
    }
}

fn plain(name: &DomainName) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

fn server_config(certificate: CertificateDer<'static>, key: Vec<u8>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("a certificate"))
}
