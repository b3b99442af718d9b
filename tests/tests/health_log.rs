//! The log of a monitor in SQLite: kept as told, told as kept, whatever happens in between.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use clonepanel_core::{
    health::{Class, HealthLog, HealthLogError, HealthRecord, HealthSummary, State},
    testkit::block_on,
    time::Timestamp,
};
use clonepanel_store::SqliteHealthLog;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// 2026-11-01T00:00:00Z.
const BEGIN: i64 = 1_793_491_200;

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(BEGIN + second)
}

fn look(target: &str, second: i64, class: Class, millis: u64) -> HealthRecord {
    let (target, vantage) = (target.to_owned(), "here".to_owned());
    HealthRecord::Look { target, vantage, at: at(second), class: Some(class), latency: Duration::from_millis(millis) }
}

fn state(target: &str, second: i64, state: State, cause: &str) -> HealthRecord {
    HealthRecord::State { target: target.to_owned(), at: at(second), state, cause: cause.to_owned() }
}

fn summary(log: &SqliteHealthLog, target: &str, from: i64, to: i64) -> HealthSummary {
    block_on(log.summary(target, at(from), at(to))).unwrap()
}

fn append(log: &SqliteHealthLog, records: &[HealthRecord]) {
    block_on(log.append(records)).unwrap();
}

const HOUR: i64 = 3600;

#[test]
fn an_outage_is_told_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    let mut records = vec![HealthRecord::Begun { at: at(0) }, state("page", 0, State::Up, "")];
    for minute in 0..600 {
        let is_down = (120..150).contains(&minute);
        let class = if is_down { Class::Refused } else { Class::Good };
        records.push(look("page", minute * 60, class, 50 + minute.unsigned_abs() % 10));
    }
    records.push(state("page", 2 * HOUR, State::Failing, "refused: x"));
    records.push(state("page", 2 * HOUR + 10, State::Down, "refused: x"));
    records.push(state("page", 2 * HOUR + 1800, State::Recovering, ""));
    records.push(state("page", 2 * HOUR + 2100, State::Up, ""));
    append(&log, &records);
    // Told again, nothing is counted twice.
    append(&log, &records[1..]);

    let told = summary(&log, "page", 0, 10 * HOUR);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap();
    assert_eq!((seconds(told.down), seconds(told.unwell)), (1790, 10 + 300));
    // The last look was a minute before; for three minutes that is good enough.
    assert_eq!((seconds(told.up), seconds(told.unknown)), (10 * HOUR - 1790 - 310, 0));
    assert_eq!((told.looks, told.failures), (600, 30));
    assert_eq!(told.outages.len(), 1);
    let outage = &told.outages[0];
    assert_eq!((outage.from, &*outage.cause, outage.is_over), (at(2 * HOUR + 10), "refused: x", true));
    let median = told.latencies.quantile(0.5).unwrap().as_secs_f64();
    assert!((0.053..0.056).contains(&median), "{median}");
    assert!((told.availability().unwrap() - (1.0 - 1790.0 / 36000.0)).abs() < 1e-9);

    // A part of it, which begins and ends in the middle of things.
    let part = summary(&log, "page", 2 * HOUR + 600, 2 * HOUR + 1200);
    assert_eq!((seconds(part.down), part.outages[0].is_over), (600, false));
    assert_eq!(part.last.unwrap().0, State::Down);
    assert_eq!(block_on(log.targets()).unwrap(), ["page"]);
    let nobody = summary(&log, "nobody", 0, 100);
    assert_eq!((nobody.availability(), seconds(nobody.unknown)), (None, 100));
}

#[test]
fn what_nobody_watched_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    append(
        &log,
        &[state("page", 0, State::Up, ""), look("page", 0, Class::Good, 5), look("page", HOUR, Class::Good, 5)],
    );
    // The monitor was killed, and begins again hours later.
    append(&log, &[HealthRecord::Begun { at: at(5 * HOUR) }]);
    append(&log, &[state("page", 5 * HOUR + 60, State::Down, "x"), look("page", 5 * HOUR + 60, Class::Refused, 5)]);
    let told = summary(&log, "page", -HOUR, 6 * HOUR);
    assert_eq!(told.up.as_secs(), HOUR.unsigned_abs() + 180);
    assert_eq!(told.down.as_secs(), 180, "three minutes after the last look nobody knows");
    assert_eq!(told.unknown.as_secs(), (7 * HOUR - HOUR - 360).unsigned_abs());
    assert_eq!(told.last.clone().unwrap().0, State::Unknown);
    // And no beginning without an end.
    append(&log, &[HealthRecord::Begun { at: at(9 * HOUR) }, HealthRecord::Begun { at: at(10 * HOUR) }]);
    assert_eq!(summary(&log, "page", -HOUR, 6 * HOUR).down.as_secs(), 180);
}

#[test]
fn each_month_has_a_file_that_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    let december = 30 * 24 * HOUR;
    append(
        &log,
        &[state("page", 0, State::Up, ""), look("page", 0, Class::Good, 10), look("page", december, Class::Good, 20)],
    );
    assert_eq!(summary(&log, "page", 0, 60 * 24 * HOUR).looks, 2);
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("health.sqlite"), mode("looks-2026-11.sqlite")), (0o600, 0o600));
    drop(log);
    for name in fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().contains("2026-11"))
    {
        fs::remove_file(name.path()).unwrap();
    }
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    let told = summary(&log, "page", 0, 60 * 24 * HOUR);
    assert_eq!((told.looks, told.up.as_secs() > 0), (1, true));
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("health.sqlite");
    for content in [&b"this is no database, but long enough to be one\n"[..], &[b'x'; 8192]] {
        fs::write(&place, content).unwrap();
        let error = SqliteHealthLog::open(folder.path()).unwrap_err();
        assert!(matches!(error, HealthLogError::Damaged { .. }), "{error:?}");
        assert_eq!(fs::read(&place).unwrap(), content);
    }
    fs::remove_file(&place).unwrap();
    drop(SqliteHealthLog::open(folder.path()).unwrap());
    drop(SqliteHealthLog::open(folder.path()).expect("ours is ours again"));
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    append(&log, &[look("page", 0, Class::Good, 10)]);
    fs::write(folder.path().join("looks-2026-11.sqlite"), [b'y'; 4096]).unwrap();
    let fresh = SqliteHealthLog::open(folder.path()).unwrap();
    let error = block_on(fresh.append(&[look("page", 5, Class::Good, 10)])).unwrap_err();
    assert!(matches!(error, HealthLogError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_look_takes_few_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    let (targets, minutes) = (10, 10_000);
    for target in 0..targets {
        let records: Vec<_> = (0..minutes)
            .map(|minute| look(&format!("t{target}"), minute * 60, Class::Good, 80 + minute.unsigned_abs() % 37))
            .collect();
        append(&log, &records);
    }
    drop(log);
    let len: u64 = fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.metadata().unwrap().len()).sum();
    let (looks, hours) = (targets * minutes, targets * minutes / 60);
    println!("{} bytes a look, {len} for {looks}", len as f64 / looks as f64);
    // 20 for each look, and 64 for each hour of each target.
    assert!(len <= (looks * 20 + hours * 64 + 64 * 1024).unsigned_abs(), "{len}");
}

/// The other end of the next test: appends until it is killed, and says what it has appended.
#[test]
#[ignore = "started by another test"]
fn appends_until_it_is_killed() {
    let folder = std::env::var_os("CLONEPANEL_LOG").unwrap();
    let log = SqliteHealthLog::open(Path::new(&folder)).unwrap();
    for second in 0.. {
        let what = if second % 2 == 0 { State::Up } else { State::Down };
        append(&log, &[state("page", second, what, ""), look("page", second, Class::Good, 5)]);
        println!("kept {second}");
    }
}

#[test]
fn nothing_that_was_kept_is_lost_by_a_kill() {
    use std::io::{BufRead as _, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let rounds: u64 = std::env::var("CLONEPANEL_KILLS").map_or(10, |count| count.parse().expect("a number"));
    for round in 0..rounds {
        let place = folder.path().join(round.to_string());
        fs::create_dir(&place).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["appends_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
            .env("CLONEPANEL_LOG", &place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut kept = lines.filter_map(|line| line.rsplit_once("kept ")?.1.parse::<i64>().ok());
        let last = (&mut kept).take(usize::try_from(3 + round * 7 % 50).unwrap()).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = kept.last().unwrap_or(last);
        let log = SqliteHealthLog::open(&place).unwrap();
        let told = summary(&log, "page", 0, last + 1);
        assert!(told.looks > last.unsigned_abs(), "round {round}: {} looks of {}", told.looks, last + 1);
        assert_eq!((told.up + told.down).as_secs(), last.unsigned_abs() + 1, "round {round}");
        assert_eq!(told.outages.len() as u64, last.unsigned_abs().div_ceil(2), "round {round}");
    }
}

/// What a report says is what a recount of the raw looks says.
#[test]
fn counts_are_those_of_the_looks() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteHealthLog::open(folder.path()).unwrap();
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut second, mut counts) = (0, BTreeMap::<String, (u64, u64)>::new());
    for _ in 0..40 {
        let mut batch = Vec::new();
        for _ in 0..random(60) {
            second += i64::try_from(1 + random(20_000)).unwrap();
            let target = format!("t{}", random(3));
            let class = [Class::Good, Class::Slow, Class::TimedOut][usize::try_from(random(3)).unwrap()];
            let count = counts.entry(target.clone()).or_default();
            (count.0, count.1) = (count.0 + 1, count.1 + u64::from(class.is_failure()));
            batch.push(look(&target, second, class, random(5000)));
        }
        append(&log, &batch);
    }
    for (target, (looks, failures)) in counts {
        let told = summary(&log, &target, 0, second + 1);
        assert_eq!(
            (told.looks, told.failures, told.latencies.count()),
            (looks, failures, looks - failures),
            "{target}"
        );
    }
}
