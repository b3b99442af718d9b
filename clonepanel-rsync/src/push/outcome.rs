//! What a session that came to its end did: which files arrived, and which did not.

use super::{Push, content::first_name, trouble};
use crate::failure::{CODES_OF_A_COMPLETE_SESSION, PARTIAL};
use clonepanel_core::{
    observer::Event,
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{TransferReport, TransportError},
};
use std::collections::{HashMap, HashSet};

/// The exit code of rsync when it did not delete all that it should have.
const DELETE_LIMIT: i32 = 25;

impl Push<'_> {
    /// Makes sense of the exit code and of what was said.
    pub(super) fn judge(mut self, code: Option<i32>) -> Result<TransferReport, TransportError> {
        if !CODES_OF_A_COMPLETE_SESSION.contains(&code) {
            return Err(self.ending(code).remote());
        }
        let listed: HashSet<&RelPath> = self.entries.iter().map(|entry| &entry.path).collect();
        let mut problems = trouble::problems(&[&self.stderr, &self.frames], &listed);
        // A file that was not sent is told with its own reason.
        let unsent = self.unsent();
        let told: HashSet<&RelPath> = unsent.iter().map(|problem| &problem.path).collect();
        problems.retain(|problem| !told.contains(&problem.path));
        problems.extend(unsent);
        let said = [&self.stderr, &self.frames];
        if code == Some(DELETE_LIMIT) || trouble::reached_limit(&said) {
            let detail = "more would have had to be deleted than was counted before: the rest was left";
            problems.push(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
        }
        if self.sender.has_stopped_deletions() || trouble::stopped_deletions(&said) {
            let detail = "not everything could be read: what the source does not have was not deleted";
            problems.push(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
        }
        // Without an exit code its last words may be missing too.
        if matches!(code, Some(PARTIAL) | None) && problems.is_empty() {
            let detail = "the far end reported an error that it did not name";
            problems.push(Problem::new(RelPath::root(), ProblemKind::Failed, detail));
        }
        let lost: HashSet<&RelPath> = problems.iter().map(|problem| &problem.path).collect();
        let arrived = self.sent.iter().filter_map(|&position| self.entries.get(position));
        self.report.files = arrived.filter(|entry| !lost.contains(&entry.path)).count() as u64;
        self.report.entries = self.entries.len() as u64;
        self.report.deleted = self.sender.deleted();
        for problem in problems {
            self.observer.notice(&Event::Problem(&problem));
            self.report.problems.push(problem);
        }
        Ok(self.report)
    }

    /// What was not sent. With none of its names sent, a file is missing under all of them.
    fn unsent(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.unsent);
        let sent: HashSet<_> = self.sent.iter().map(|&position| first_name(&self.entries[position])).collect();
        let lost: HashMap<_, _> = problems
            .iter()
            .map(|(&position, problem)| (first_name(&self.entries[position]), problem.clone()))
            .filter(|(first, _)| self.first_names.contains(*first) && !sent.contains(*first))
            .collect();
        for (position, entry) in self.entries.iter().enumerate().filter(|_| !lost.is_empty()) {
            if let Some(problem) = lost.get(first_name(entry)) {
                let other = || Problem::new(entry.path.clone(), problem.kind, problem.detail());
                problems.entry(position).or_insert_with(other);
            }
        }
        problems.into_values().collect()
    }
}
