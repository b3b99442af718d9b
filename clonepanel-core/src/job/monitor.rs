//! [`Monitor`]: looks at servers again and again, and says what became of them.

use crate::{
    health::{
        Agenda, HealthProbe, Life, Observation, ProbeError, Quorum, State, Transition, Verdict, Watch, WatchPolicy,
    },
    time::{Timer, Timestamp},
};
use futures_util::{
    StreamExt as _,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};
use std::{fmt, ops::Range, pin::pin, sync::Arc, time::Duration};

/// How long what the canaries said holds.
const CANARY_TTL: Duration = Duration::from_secs(10);
/// So much beyond its own time limit a probe is waited for; then it is dropped.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked for what nobody looks at any more.
const SWEEP: Duration = Duration::from_secs(1);

/// Watches targets, each by one or several vantages, until it is stopped. It keeps nothing but what it needs for the next verdict: what was
/// seen goes to the [`MonitorObserver`].
///
/// Trouble of its own is never blamed on a target: when this machine cannot look, when all canaries fail, or when it stood still for
/// longer than an interval, its vantages abstain.
pub struct Monitor {
    targets: Vec<Target>,
    canaries: Vec<Arc<dyn HealthProbe>>,
    quorum: Quorum,
    per_server: usize,
    deadline: Duration,
    seed: u64,
}

/// Something that is watched, as a person thinks of it: the page of a site at one of its servers.
pub struct Target {
    name: String,
    server: String,
    policy: WatchPolicy,
    interval: Duration,
    vantages: Vec<Vantage>,
}

/// From where a target is looked at, and how.
struct Vantage {
    name: String,
    probe: Arc<dyn HealthProbe>,
    /// Whether it looks from this machine, whose trouble its canaries notice.
    is_here: bool,
}

/// Is told what a monitor sees. It must not hold anybody up.
pub trait MonitorObserver: Send + Sync {
    /// Something happened.
    fn notice(&self, event: &MonitorEvent<'_>);
}

/// What a [`MonitorObserver`] is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum MonitorEvent<'a> {
    /// Somebody has looked.
    Looked {
        /// At which target.
        target: &'a str,
        /// From where.
        vantage: &'a str,
        /// When.
        at: Timestamp,
        /// What was seen, or why nothing was.
        look: &'a Result<Observation, ProbeError>,
        /// How much later than it should have been.
        late: Duration,
    },
    /// The state of a target is another one.
    Changed {
        /// Which target.
        target: &'a str,
        /// What it was.
        from: State,
        /// What it is now, and why.
        verdict: &'a Verdict,
        /// What the look showed that made the difference; `None` when it was none.
        cause: Option<&'a Observation>,
        /// When.
        at: Timestamp,
    },
    /// The monitor cannot trust its own eyes, and says nothing about what it sees from here.
    OwnTrouble {
        /// What is wrong.
        what: &'a str,
        /// When.
        at: Timestamp,
    },
}

/// Watches nothing.
impl MonitorObserver for () {
    fn notice(&self, _: &MonitorEvent<'_>) {}
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.targets.iter().map(|target| &target.name).collect();
        f.debug_struct("Monitor").field("targets", &targets).finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Target {
    /// A target by its name for people, and the server that is looked at for it; looked at every `interval`, and judged by the policy.
    #[must_use]
    pub fn new(name: impl Into<String>, server: impl Into<String>, interval: Duration, policy: WatchPolicy) -> Self {
        Self { name: name.into(), server: server.into(), policy, interval, vantages: Vec::new() }
    }

    /// Looks from this machine.
    #[must_use]
    pub fn here(self, probe: Arc<dyn HealthProbe>) -> Self {
        self.vantage("here", probe, true)
    }

    /// Looks from somewhere else.
    #[must_use]
    pub fn there(self, name: impl Into<String>, probe: Arc<dyn HealthProbe>) -> Self {
        self.vantage(name, probe, false)
    }

    fn vantage(mut self, name: impl Into<String>, probe: Arc<dyn HealthProbe>, is_here: bool) -> Self {
        self.vantages.push(Vantage { name: name.into(), probe, is_here });
        self
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitor {
    /// Watches nothing yet; at most 4 looks at the same server at a time, each for 30 s at most.
    #[must_use]
    pub fn new() -> Self {
        Self {
            targets: Vec::new(),
            canaries: Vec::new(),
            quorum: Quorum::new(),
            per_server: 4,
            deadline: Duration::from_secs(30),
            seed: 1,
        }
    }

    /// Watches this too.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// When a look from here fails, this is looked at: if all canaries fail too, it is our own network.
    #[must_use]
    pub fn canary(mut self, probe: Arc<dyn HealthProbe>) -> Self {
        self.canaries.push(probe);
        self
    }

    /// How votes of several vantages are counted.
    #[must_use]
    pub fn quorum(mut self, quorum: Quorum) -> Self {
        self.quorum = quorum;
        self
    }

    /// How many looks at the same server there are at a time.
    #[must_use]
    pub const fn per_server(mut self, looks: usize) -> Self {
        self.per_server = looks;
        self
    }

    /// How long a look may take: it is dropped a little later if it has no limit of its own, and nothing is concluded from it.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Decides about the little disorder in the times of looks.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Watches until `stop`. Looks that are under way then are dropped.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn run(&self, timer: &dyn Timer, observer: &dyn MonitorObserver, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut watching = Watching::new(self, timer, observer);
        loop {
            let step = pin!(watching.step());
            if let Either::Left(_) = select(&mut stop, step).await {
                return;
            }
        }
    }

    /// Looks at each target once from each vantage, and says what was seen. Nothing is judged by a single look.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn look_once(&self, timer: &dyn Timer, observer: &dyn MonitorObserver) {
        let looks = self.targets.iter().flat_map(|target| target.vantages.iter().map(move |vantage| (target, vantage)));
        let looks = looks.map(async |(target, vantage)| (target, vantage, self.look(timer, &*vantage.probe).await));
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(self.per_server.max(1));
        while let Some((target, vantage, look)) = looks.next().await {
            let (at, late) = (timer.now(), Duration::ZERO);
            let (target, vantage) = (target.name.as_str(), vantage.name.as_str());
            observer.notice(&MonitorEvent::Looked { target, vantage, at, look: &look, late });
        }
    }

    async fn look(&self, timer: &dyn Timer, probe: &dyn HealthProbe) -> Result<Observation, ProbeError> {
        let until = timer.elapsed().saturating_add(self.deadline).saturating_add(GRACE);
        match select(probe.check(), timer.sleep_until(until)).await {
            Either::Left((look, _)) => look,
            Either::Right(_) => {
                Err(ProbeError::Unusable { detail: "the probe did not keep its own time limit".to_owned() })
            }
        }
    }
}

/// A monitor at work.
struct Watching<'a> {
    monitor: &'a Monitor,
    timer: &'a dyn Timer,
    observer: &'a dyn MonitorObserver,
    agenda: Agenda,
    /// By the numbers of the agenda; those of a target follow each other.
    places: Vec<Place>,
    /// Which are those of each target.
    ranges: Vec<Range<usize>>,
    /// What each target was last said to be.
    states: Vec<State>,
    under_way: FuturesUnordered<BoxFuture<'a, Looked>>,
    canaries: Option<(Duration, bool)>,
    /// Whether it was said that nothing can be seen from here.
    is_blind: bool,
    /// When the last step began.
    awake: Duration,
    /// When it was last looked for what nobody looks at any more.
    swept: Duration,
    longest: Duration,
}

/// A vantage of a target.
struct Place {
    target: usize,
    vantage: usize,
    watch: Watch,
}

/// A look that is over.
struct Looked {
    number: usize,
    late: Duration,
    look: Result<Observation, ProbeError>,
}

impl<'a> Watching<'a> {
    fn new(monitor: &'a Monitor, timer: &'a dyn Timer, observer: &'a dyn MonitorObserver) -> Self {
        let now = timer.elapsed();
        let (mut agenda, mut places) = (Agenda::new(monitor.per_server, monitor.seed), Vec::new());
        let mut ranges = Vec::with_capacity(monitor.targets.len());
        for (at, target) in monitor.targets.iter().enumerate() {
            ranges.push(places.len()..places.len() + target.vantages.len());
            for vantage in 0..target.vantages.len() {
                agenda.add(target.server.clone(), target.interval, now);
                places.push(Place { target: at, vantage, watch: Watch::new(target.policy.clone()) });
            }
        }
        let longest = monitor.targets.iter().map(|target| target.interval).max().unwrap_or(Duration::from_secs(1));
        Self {
            monitor,
            timer,
            observer,
            agenda,
            places,
            ranges,
            states: vec![State::Unknown; monitor.targets.len()],
            under_way: FuturesUnordered::new(),
            canaries: None,
            is_blind: false,
            awake: now,
            swept: now,
            longest,
        }
    }

    /// Begins what is due, and takes in what comes first: a look that is over, or the next one that is due.
    async fn step(&mut self) {
        let now = self.timer.elapsed();
        // Nothing waits for longer than an interval: whoever does was stopped.
        if now.saturating_sub(self.awake) > self.longest.saturating_mul(2) {
            self.distrust("it stood still");
            self.agenda.resume(now);
        }
        self.awake = now;
        while let Some(due) = self.agenda.due(now) {
            let place = &self.places[due.number];
            let probe: &'a Arc<dyn HealthProbe> = &self.monitor.targets[place.target].vantages[place.vantage].probe;
            let (monitor, timer) = (self.monitor, self.timer);
            self.under_way.push(Box::pin(async move {
                Looked { number: due.number, late: due.late, look: monitor.look(timer, &**probe).await }
            }));
        }
        let next = self.agenda.next().unwrap_or(Duration::MAX).min(now.saturating_add(self.longest));
        let looked = match self.under_way.is_empty() {
            true => {
                self.timer.sleep_until(next).await;
                None
            }
            false => match select(self.under_way.next(), self.timer.sleep_until(next)).await {
                Either::Left((looked, _)) => looked,
                Either::Right(_) => None,
            },
        };
        if let Some(looked) = looked {
            self.take(looked).await;
        }
        self.let_pass();
    }

    async fn take(&mut self, Looked { number, late, look }: Looked) {
        let place = &self.places[number];
        let target = &self.monitor.targets[place.target];
        let vantage = &target.vantages[place.vantage];
        let (at, is_here) = (self.timer.now(), vantage.is_here);
        let (name, from) = (target.name.as_str(), vantage.name.as_str());
        self.observer.notice(&MonitorEvent::Looked { target: name, vantage: from, at, look: &look, late });
        let has_failed = look.as_ref().is_ok_and(|seen| seen.class.is_failure());
        if has_failed && is_here && !self.can_see().await {
            self.agenda.done(number, self.timer.elapsed(), None);
            return self.distrust("no canary can be reached");
        }
        let now = self.timer.elapsed();
        self.is_blind &= !(is_here && look.as_ref().is_ok_and(|seen| !seen.class.is_failure()));
        let place = &mut self.places[number];
        let changed = match &look {
            Ok(seen) => place.watch.observe(now, seen),
            Err(_) => place.watch.abstain(now),
        };
        let next = place.watch.next_look();
        let (interval, of) = (self.monitor.targets[place.target].interval, place.target);
        self.agenda.done(number, now, (next < interval).then_some(next));
        if matches!(changed, Some(Transition { to: State::Failing | State::Down, .. })) {
            // Whether others see it too is wanted at once.
            let others = self.ranges[of].clone().filter(|other| *other != number);
            others.for_each(|other| self.agenda.hurry(other, now));
        }
        self.judge(of, look.as_ref().ok());
    }

    /// What one vantage says about a target counts only with what the others say.
    fn judge(&mut self, target: usize, cause: Option<&Observation>) {
        let (now, at) = (self.timer.elapsed(), self.timer.now());
        let Target { name, vantages, .. } = &self.monitor.targets[target];
        let places = self.places[self.ranges[target].clone()].iter();
        let votes: Vec<_> = places.map(|place| place.watch.vote(vantages[place.vantage].name.clone(), now)).collect();
        let verdict = self.monitor.quorum.verdict(&votes, Life::NoSign);
        let from = std::mem::replace(&mut self.states[target], verdict.state);
        if from != verdict.state {
            self.observer.notice(&MonitorEvent::Changed { target: name, from, verdict: &verdict, cause, at });
        }
    }

    /// What nobody has looked at for too long is not known any more.
    fn let_pass(&mut self) {
        let now = self.timer.elapsed();
        if now.saturating_sub(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let mut aged = Vec::new();
        for place in &mut self.places {
            if place.watch.pass(now).is_some() {
                aged.push(place.target);
            }
        }
        aged.dedup();
        aged.into_iter().for_each(|target| self.judge(target, None));
    }

    /// Whether something else can be seen from here.
    async fn can_see(&mut self) -> bool {
        if self.monitor.canaries.is_empty() {
            return true;
        }
        let now = self.timer.elapsed();
        if let Some((_, can_see)) = self.canaries.filter(|(at, _)| now.saturating_sub(*at) < CANARY_TTL) {
            return can_see;
        }
        let (monitor, timer) = (self.monitor, self.timer);
        let mut looks: FuturesUnordered<_> =
            monitor.canaries.iter().map(|canary| monitor.look(timer, &**canary)).collect();
        let mut can_see = false;
        while let Some(look) = looks.next().await {
            can_see |= look.is_ok_and(|seen| !seen.class.is_failure());
            if can_see {
                break;
            }
        }
        // That was no standing still.
        self.awake = self.timer.elapsed();
        self.canaries = Some((self.awake, can_see));
        self.is_blind &= !can_see;
        can_see
    }

    /// What is seen from here says nothing.
    fn distrust(&mut self, what: &str) {
        let (now, at) = (self.timer.elapsed(), self.timer.now());
        if !std::mem::replace(&mut self.is_blind, true) {
            self.observer.notice(&MonitorEvent::OwnTrouble { what, at });
        }
        for place in &mut self.places {
            if self.monitor.targets[place.target].vantages[place.vantage].is_here {
                place.watch.abstain(now);
            }
        }
        (0..self.states.len()).for_each(|target| self.judge(target, None));
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
