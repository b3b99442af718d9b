use super::*;
use crate::{
    health::Class,
    testkit::{ScriptedProbe, VirtualTimer},
    time::Clock as _,
};
use std::sync::Mutex;

const INTERVAL: Duration = Duration::from_secs(15);

/// What a monitor said, a line each: `second target: from -> to (reason)`.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    looks: Mutex<Vec<(String, String, Timestamp)>>,
    latest: Mutex<Duration>,
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl MonitorObserver for Told {
    fn notice(&self, event: &MonitorEvent<'_>) {
        let line = match event {
            MonitorEvent::Looked { target, vantage, at, late, .. } => {
                self.looks.lock().unwrap().push(((*target).to_owned(), (*vantage).to_owned(), *at));
                let mut latest = self.latest.lock().unwrap();
                *latest = latest.max(*late);
                return;
            }
            MonitorEvent::Changed { target, from, verdict, at, .. } => {
                format!("{} {target}: {from:?} -> {:?} ({:?})", at.secs(), verdict.state, verdict.reason)
            }
            MonitorEvent::OwnTrouble { what, at } => format!("{} trouble: {what}", at.secs()),
        };
        self.lines.lock().unwrap().push(line);
    }
}

fn good() -> Result<Observation, ProbeError> {
    Ok(Observation::new(Class::Good, Duration::from_millis(50), ""))
}

fn refused() -> Result<Observation, ProbeError> {
    Ok(Observation::new(Class::Refused, Duration::from_millis(5), ""))
}

fn probe(
    timer: &VirtualTimer,
    script: impl Fn(u64) -> Result<Observation, ProbeError> + Send + Sync + 'static,
) -> Arc<dyn HealthProbe> {
    Arc::new(ScriptedProbe::new("x", Arc::new(timer.clone()), move |now| script(now.as_secs())))
}

fn target(name: &str) -> Target {
    Target::new(name, "alpha", INTERVAL, WatchPolicy::new(INTERVAL))
}

fn watch(monitor: &Monitor, timer: &VirtualTimer, seconds: u64) -> Told {
    let told = Told::default();
    let stop = timer.sleep_until(Duration::from_secs(seconds));
    timer.run(monitor.run(timer, &told, stop));
    assert_eq!(timer.now().secs(), i64::try_from(seconds).unwrap(), "it stops when it is told to");
    told
}

fn timer() -> VirtualTimer {
    VirtualTimer::new(Timestamp::default())
}

#[test]
fn a_server_goes_down_and_comes_back() {
    let timer = timer();
    let is_down = |second: u64| (600..1200).contains(&second);
    let script = move |second| if is_down(second) { refused() } else { good() };
    let site = target("page").here(probe(&timer, script)).there("ssh:beta", probe(&timer, script));
    let told = watch(&Monitor::new().target(site), &timer, 3600);
    let lines: Vec<_> = told.lines();
    let words: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        words,
        [
            "page: Unknown -> Up (Agreed)",
            "page: Up -> Failing (Agreed)",
            "page: Failing -> Down (EnoughSeeItDown)",
            // One has seen it, the other not yet.
            "page: Down -> Failing (TooFewSeeItDown)",
            "page: Failing -> Recovering (Agreed)",
            "page: Recovering -> Up (Agreed)",
        ]
    );
    let at = |line: &str| line.split_once(' ').unwrap().0.parse::<u64>().unwrap();
    let policy = WatchPolicy::new(INTERVAL);
    let longest = policy.longest_detection(2, Duration::from_millis(50)).as_secs() + 2;
    assert!((600..=600 + longest).contains(&at(&lines[2])), "seen after {} s, {longest} at most", at(&lines[2]) - 600);
    // Up again only after a good while.
    assert!((1500..1600).contains(&at(&lines[5])), "{lines:?}");
    assert!(*told.latest.lock().unwrap() <= Duration::from_millis(100));
}

#[test]
fn one_vantage_alone_says_so_and_a_second_one_may_object() {
    let timer = timer();
    let down = move |second| if second >= 300 { refused() } else { good() };
    let alone = target("alone").here(probe(&timer, down));
    let doubted = target("doubted").here(probe(&timer, down)).there("ssh:beta", probe(&timer, |_| good()));
    let told = watch(&Monitor::new().target(alone).target(doubted), &timer, 900);
    let lines = told.lines().join("\n");
    assert!(lines.contains("alone: Failing -> Down (TooFewVantages)"), "{lines}");
    assert!(!lines.contains("doubted: Failing -> Down"), "{lines}");
}

#[test]
fn our_own_network_is_not_the_servers_fault() {
    let timer = timer();
    let broken = |second: u64| (300..900).contains(&second);
    let seen = move |second| if broken(second) { refused() } else { good() };
    let site = target("page").here(probe(&timer, seen));
    let monitor = Monitor::new().target(site).canary(probe(&timer, seen)).canary(probe(&timer, seen));
    let told = watch(&monitor, &timer, 1800);
    let lines: Vec<_> = told.lines();
    let words: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        words,
        [
            "page: Unknown -> Up (Agreed)",
            "trouble: no canary can be reached",
            "page: Up -> Unknown (NobodySees)",
            "page: Unknown -> Up (Agreed)",
        ]
    );
    // A canary that is seen makes it the server's.
    let timer = self::timer();
    let site = target("page").here(probe(&timer, seen));
    let monitor = Monitor::new().target(site).canary(probe(&timer, seen)).canary(probe(&timer, |_| good()));
    assert!(watch(&monitor, &timer, 600).lines().iter().any(|line| line.contains("-> Down")));
}

#[test]
fn what_cannot_be_looked_at_is_unknown() {
    let timer = timer();
    let script = |second| match second {
        0..300 => good(),
        _ => Err(ProbeError::Local { source: "no descriptors".into() }),
    };
    let told = watch(&Monitor::new().target(target("page").here(probe(&timer, script))), &timer, 900);
    assert!(told.lines().last().unwrap().ends_with("page: Up -> Unknown (NobodySees)"), "{:?}", told.lines());
}

#[test]
fn a_probe_without_an_end_is_dropped_and_others_go_on() {
    let timer = timer();
    let endless = |_| Ok(Observation::new(Class::Good, Duration::from_secs(1_000_000), ""));
    let monitor = Monitor::new().target(target("endless").here(probe(&timer, endless)));
    let monitor = monitor.target(target("page").here(probe(&timer, |_| good())));
    let told = watch(&monitor, &timer, 900);
    let count = |name: &str| told.looks.lock().unwrap().iter().filter(|(target, ..)| target == name).count();
    assert!(count("page") >= 55 && count("endless") >= 10, "{} {}", count("page"), count("endless"));
    assert!(told.lines().iter().all(|line| !line.contains("endless")), "{:?}", told.lines());
}

#[test]
fn a_machine_that_stood_still_knows_nothing_and_does_not_make_up_for_it() {
    let timer = timer();
    let still = {
        let timer = timer.clone();
        move |second| {
            if second == 300 {
                timer.stand_still(Duration::from_secs(3600));
            }
            good()
        }
    };
    let mut monitor = Monitor::new().per_server(1000);
    monitor = monitor.target(
        Target::new("still", "beta", Duration::from_secs(1), WatchPolicy::new(Duration::from_secs(1)))
            .here(probe(&timer, still)),
    );
    for number in 0..60 {
        monitor = monitor.target(target(&format!("t{number}")).here(probe(&timer, |_| good())));
    }
    let told = watch(&monitor, &timer, 5400);
    let lines = told.lines().join("\n");
    assert!(lines.contains("trouble: it stood still") && !lines.contains("Down"), "{lines}");
    let after: Vec<_> = told.looks.lock().unwrap().iter().filter(|(.., at)| at.secs() > 3900).cloned().collect();
    // Never more than a few in the same second.
    let mut seconds = std::collections::HashMap::<i64, usize>::new();
    after.iter().for_each(|(.., at)| *seconds.entry(at.secs()).or_default() += 1);
    assert!(seconds.values().all(|count| *count <= 12), "{:?}", seconds.values().max());
}

#[test]
fn a_single_look_judges_nothing() {
    let timer = timer();
    let monitor = Monitor::new()
        .target(target("page").here(probe(&timer, |_| refused())).there("ssh:beta", probe(&timer, |_| good())))
        .target(target("mail").here(probe(&timer, |_| good())));
    let told = Told::default();
    timer.run(monitor.look_once(&timer, &told));
    assert_eq!(told.looks.lock().unwrap().len(), 3);
    assert_eq!(told.lines(), Vec::<String>::new());
}
