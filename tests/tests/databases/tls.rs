//! Connections over TCP that others cannot read.

use clonepanel_core::tree::TreeSource as _;
use clonepanel_store::mysql::{DatabaseAddress, DatabaseSource, DatabaseTls};
use clonepanel_tests::MariaDb;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{fs, path::Path};

/// Writes a certificate for `name`, its key and the authority it leads to.
fn certificate(folder: &Path, name: &str) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::create_dir_all(folder).unwrap();
    for (file, text) in [("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem()), ("ca.pem", authority.pem())] {
        fs::write(folder.join(file), text).unwrap();
    }
}

fn encrypted(folder: &Path) -> MariaDb {
    let option = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
    let (cert, key) = (option("ssl-cert", "cert.pem"), option("ssl-key", "key.pem"));
    let server = MariaDb::start_with(&[&cert, &key]);
    server.run(
        "",
        "CREATE DATABASE shop; CREATE TABLE shop.goods (id int); INSERT INTO shop.goods VALUES (1);
         CREATE USER 'far'@'%' IDENTIFIED BY 'sesame' REQUIRE SSL; GRANT ALL ON shop.* TO 'far'@'%'",
    );
    server
}

fn listing(address: DatabaseAddress) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let said = |error: clonepanel_core::tree::TreeError| {
            let mut line = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(source) = cause {
                line = format!("{line}: {source}");
                cause = source.source();
            }
            line
        };
        let source = DatabaseSource::new(address.password(clonepanel_core::secret::Secret::new("sesame")));
        let mut entries = source.entries().await.map_err(said)?;
        let mut count = 0;
        while entries.next().await.map_err(said)?.is_some() {
            count += 1;
        }
        Ok(count)
    })
}

#[test]
fn a_connection_is_encrypted_and_the_server_is_who_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    certificate(&at("good"), "localhost");
    certificate(&at("other"), "localhost");
    let server = encrypted(&at("good"));
    let plain = |host: &str| DatabaseAddress::tcp(host, server.port(), "shop", "far");
    let believing = |name: &str| DatabaseTls::new().ca_file(at(name).join("ca.pem"));

    assert!(listing(plain("localhost").tls(believing("good"))).unwrap() > 5);
    // The account asks for it; without, it is not let in.
    let refused = listing(plain("localhost")).unwrap_err();
    assert!(refused.contains("does not allow logging in"), "{refused}");
    for (what, tls, host) in [
        ("another authority", believing("other"), "localhost"),
        ("none that browsers know", DatabaseTls::new(), "localhost"),
        ("another name", believing("good"), "127.0.0.1"),
    ] {
        let refused = listing(plain(host).tls(tls)).unwrap_err();
        assert!(refused.to_lowercase().contains("certificate"), "{what}: {refused}");
        assert!(!refused.contains("sesame"), "{what}: {refused}");
    }
}

/// Whoever stands between must not be able to talk a connection out of it.
#[test]
fn a_server_without_tls_is_not_talked_to() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "localhost");
    let server = MariaDb::start_with(&["--skip-ssl"]);
    server.run(
        "",
        "CREATE DATABASE shop; CREATE USER 'far'@'%' IDENTIFIED BY 'sesame'; GRANT ALL ON shop.* TO 'far'@'%'",
    );
    let plain = || DatabaseAddress::tcp("localhost", server.port(), "shop", "far");
    assert!(listing(plain()).is_ok());
    let refused = listing(plain().tls(DatabaseTls::new().ca_file(folder.path().join("ca.pem")))).unwrap_err();
    assert!(refused.contains("logging in"), "{refused}");
}
