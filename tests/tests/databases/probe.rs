//! A database in trouble, as a monitor sees it.

use clonepanel_core::{
    health::{Class, HealthProbe as _, Observation},
    secret::Secret,
};
use clonepanel_store::mysql::{DatabaseAddress, DatabaseProbe};
use clonepanel_tests::MariaDb;
use std::time::Duration;

fn seen(probe: &DatabaseProbe) -> Observation {
    tokio::runtime::Runtime::new().unwrap().block_on(probe.check()).unwrap()
}

#[test]
fn each_trouble_has_its_class() {
    let server = MariaDb::start_with(&["--max-connections=10"]);
    server.run("", "CREATE DATABASE wp; CREATE TABLE wp.posts (id int); CREATE USER alice IDENTIFIED BY 'sesame'; GRANT ALL ON wp.* TO alice");
    let address = |password: &str| {
        DatabaseAddress::tcp("127.0.0.1", server.port(), "wp", "alice").password(Secret::new(password))
    };
    let probe = DatabaseProbe::new(address("sesame")).table("posts").timeout(Duration::from_secs(2));
    let good = seen(&probe);
    assert!(good.class == Class::Good && good.detail().contains("MariaDB"), "{good:?}");
    assert_eq!(seen(&probe.clone().slow(Duration::ZERO)).class, Class::Slow);
    let denied = seen(&DatabaseProbe::new(address("wrong")));
    assert!(denied.class == Class::Denied && !format!("{denied:?}").contains("wrong"), "{denied:?}");
    assert_eq!(seen(&probe.clone().table("nothing")).class, Class::WrongContent);
    assert_eq!(seen(&DatabaseProbe::new(DatabaseAddress::socket("/nonexistent", "wp", "alice"))).class, Class::Refused);

    // Others have all the connections.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let full = runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..30 {
            held.push(tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let seen = probe.check().await.unwrap();
        drop(held);
        seen
    });
    assert_eq!(full.class, Class::Overload, "{full:?}");

    server.signal("STOP");
    let silent = seen(&probe);
    assert_eq!((silent.class, silent.detail()), (Class::TimedOut, "no answer within 2 s"));
    server.signal("CONT");
    drop(server);
    assert_eq!(seen(&probe).class, Class::Refused);
}
