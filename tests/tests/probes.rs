//! Probes against real servers in trouble: each ends in the right class, and trouble of our own in none.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use clonepanel_core::health::{Class, HealthProbe, Observation, ProbeError};
use clonepanel_tests::{Certificate, Nginx, Sshd};
use clonepanel_whm::{BannerProbe, CertificateProbe, HttpProbe, PageExpectation, Trust};
use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SHORT: Duration = Duration::from_secs(2);

const PAGES: &str = r#"
location = / { return 200 "<h1>Welcome!</h1>"; }
location = /broken { return 500 "oh"; }
location = /busy { return 503 "later"; }
location = /limit { return 508 "resource limit is reached"; }
location = /moved { return 301 /; }
location = /round { return 302 /round; }
location = /away { return 302 https://elsewhere.example/; }
location = /hangs-up { return 444; }
location = /secret { return 401 "who are you"; }
"#;

async fn seen(probe: &dyn HealthProbe) -> Observation {
    probe.check().await.unwrap()
}

fn page(nginx: &Nginx, path: &str) -> HttpProbe {
    let probe = HttpProbe::new(&format!("http://example.org:{}{path}", nginx.port())).unwrap();
    probe.at(HERE).expect(welcome()).timeout(SHORT)
}

fn welcome() -> PageExpectation {
    PageExpectation::new().body("Welcome")
}

fn encrypted(nginx: &Nginx, certificate: Certificate) -> HttpProbe {
    let url = format!("https://example.org:{}/", nginx.encrypted_port(certificate));
    HttpProbe::new(&url).unwrap().at(HERE).timeout(SHORT).trust(&Trust::Pem(nginx.authority())).unwrap()
}

#[tokio::test]
async fn pages_are_what_they_should_be_or_not() {
    let nginx = Nginx::start(PAGES);
    for (path, class, detail) in [
        ("/", Class::Good, "status 200"),
        ("/moved", Class::Good, "status 200"),
        ("/broken", Class::WrongStatus, "status 500 instead of 200"),
        ("/nothing", Class::WrongStatus, "status 404 instead of 200"),
        ("/busy", Class::Overload, "status 503 instead of 200"),
        ("/limit", Class::Overload, "status 508 instead of 200"),
        ("/round", Class::WrongStatus, "it leads on and on, more than 5 times"),
        ("/away", Class::WrongStatus, "status 302 instead of 200"),
    ] {
        let look = seen(&page(&nginx, path)).await;
        assert_eq!((look.class, look.detail()), (class, detail), "{path}");
        assert!(look.phases.connected.is_some() && look.phases.answered.unwrap() <= look.latency, "{look:?}");
    }
    let look = seen(&page(&nginx, "/hangs-up")).await;
    assert_eq!(look.class, Class::Reset, "{look:?}");
    let look = seen(&page(&nginx, "/").expect(welcome().body("Farewell"))).await;
    assert_eq!((look.class, look.detail()), (Class::WrongContent, "a page without \"Farewell\""));
    assert_eq!(
        seen(&page(&nginx, "/secret").expect(PageExpectation::new().status(401).body("who are you"))).await.class,
        Class::Good
    );
    assert_eq!(seen(&page(&nginx, "/away").expect(PageExpectation::new().status(302))).await.class, Class::Good);
    assert_eq!(seen(&page(&nginx, "/").expect(welcome().slow(Duration::ZERO))).await.class, Class::Slow);

    // Stopped, it takes connections and never answers; killed, nobody is there.
    nginx.signal("STOP");
    let look = seen(&page(&nginx, "/")).await;
    assert_eq!((look.class, look.detail()), (Class::TimedOut, "no answer within 2 s"));
    assert!(look.latency >= SHORT && look.phases.connected.is_some() && look.phases.answered.is_none());
    nginx.signal("CONT");
    assert_eq!(seen(&page(&nginx, "/")).await.class, Class::Good);
    let gone = page(&nginx, "/");
    drop(nginx);
    assert_eq!(seen(&gone).await.class, Class::Refused);
}

#[tokio::test]
async fn certificates_are_checked() {
    let nginx = Nginx::start(PAGES);
    let good = seen(&encrypted(&nginx, Certificate::Good)).await;
    assert_eq!((good.class, good.detail()), (Class::Good, "status 200"));
    assert!(good.phases.connected < good.phases.encrypted && good.phases.encrypted < good.phases.answered);
    let warned = seen(&encrypted(&nginx, Certificate::Good).certificate_days(2_000_000)).await;
    assert_eq!((warned.class, warned.detail()), (Class::Good, "status 200; the certificate ends 4096-01-01T00:00:00Z"));
    for (certificate, why) in [(Certificate::Expired, "expired"), (Certificate::OtherName, "not valid for name")] {
        let bad = seen(&encrypted(&nginx, certificate)).await;
        assert!(bad.class == Class::Certificate && bad.detail().contains(why), "{bad:?}");
    }
    let stranger =
        HttpProbe::new(&format!("https://example.org:{}/", nginx.encrypted_port(Certificate::Good))).unwrap();
    assert_eq!(seen(&stranger.at(HERE)).await.class, Class::Certificate);

    let probe = |certificate| {
        let probe = CertificateProbe::new("example.org").unwrap().port(nginx.encrypted_port(certificate)).at(HERE);
        probe.trust(&Trust::Pem(nginx.authority())).unwrap()
    };
    let good = seen(&probe(Certificate::Good)).await;
    assert_eq!((good.class, good.detail()), (Class::Good, "it is valid until 4096-01-01T00:00:00Z"));
    let soon = seen(&probe(Certificate::Good).days(2_000_000)).await;
    assert_eq!((soon.class, soon.detail()), (Class::Certificate, "it ends 4096-01-01T00:00:00Z"));
    assert_eq!(seen(&probe(Certificate::Expired)).await.class, Class::Certificate);
    assert_eq!(seen(&probe(Certificate::OtherName)).await.class, Class::Certificate);
    // A port that speaks no TLS.
    let plain = CertificateProbe::new("example.org").unwrap().port(nginx.port()).at(HERE);
    assert_eq!(seen(&plain).await.class, Class::WrongContent);
}

#[tokio::test]
async fn servers_that_speak_first() {
    let sshd = Sshd::start();
    let look = seen(&BannerProbe::ssh("localhost", sshd.port()).at(HERE)).await;
    assert!(look.class == Class::Good && look.detail().starts_with("SSH-2.0-OpenSSH"), "{look:?}");
    assert_eq!(seen(&BannerProbe::new("localhost", sshd.port())).await.class, Class::Good);
    let wrong = seen(&BannerProbe::new("localhost", sshd.port()).banner("220 ")).await;
    assert_eq!(wrong.class, Class::WrongContent);
    drop(sshd);

    let nginx = Nginx::start(PAGES);
    let silent = seen(&BannerProbe::ssh("localhost", nginx.port()).timeout(SHORT)).await;
    assert_eq!((silent.class, silent.detail()), (Class::TimedOut, "no answer within 2 s"));
    let free = TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap().port();
    assert_eq!(seen(&BannerProbe::new("localhost", free)).await.class, Class::Refused);
}

/// A server that does what it is told with each connection.
async fn server(answer: &'static [u8], pause: Duration) -> u16 {
    let listener = tokio::net::TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                for byte in answer.chunks(64) {
                    if stream.write_all(byte).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn hostile_servers_take_neither_time_nor_memory() {
    const DRIP: &[u8] = &{
        let mut page = [b'x'; 4096];
        let head = *b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n";
        let mut at = 0;
        while at < head.len() {
            page[at] = head[at];
            at += 1;
        }
        page
    };
    let at = |port: u16| HttpProbe::new(&format!("http://localhost:{port}/")).unwrap().at(HERE).timeout(SHORT);
    let drip = seen(&at(server(DRIP, Duration::from_millis(200)).await)).await;
    assert_eq!((drip.class, drip.detail()), (Class::TimedOut, "no end of the answer within 2 s"));
    let cut = seen(&at(server(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nhello", Duration::ZERO).await)).await;
    assert_eq!(cut.class, Class::Reset, "{cut:?}");
    let noise = seen(&at(server(b"SSH-2.0-OpenSSH_9.2p1\r\n", Duration::ZERO).await)).await;
    assert_eq!(noise.class, Class::WrongContent, "{noise:?}");
    let nothing = seen(&at(server(b"", Duration::ZERO).await)).await;
    assert_eq!(nothing.class, Class::Reset, "{nothing:?}");
    static ENDLESS: [u8; 4 << 20] = [b'h'; 4 << 20];
    let endless = seen(&at(server(&ENDLESS, Duration::ZERO).await)).await;
    assert!(endless.class.is_failure() && endless.detail().len() <= 200, "{endless:?}");
    let mischief = b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\x1b[2J\r\nContent-Length: 0\r\n\r\n";
    let look = seen(&at(server(mischief, Duration::ZERO).await)).await;
    assert!(look.class.is_failure() && !look.detail().contains('\x1b'), "{look:?}");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_no_failure_of_the_server() {
    // Where no resolver answers, nobody knows whether there is such a name.
    let name = HttpProbe::new("http://no-such-name.invalid/").unwrap().check().await;
    let is_right = match &name {
        Ok(look) => look.class == Class::Name,
        Err(error) => matches!(error, ProbeError::Local { .. }),
    };
    assert!(is_right, "{name:?}");
    for url in ["ftp://example.org/", "example.org", "http://", "https://user:sesame@example.org/"] {
        let error = HttpProbe::new(url).unwrap_err();
        assert!(matches!(error, ProbeError::Unusable { .. }) && !error.to_string().contains("sesame"), "{error}");
    }
    assert_eq!(HttpProbe::new("https://example.org/x?token=sesame#y").unwrap().name(), "https://example.org/x");
}
