//! [`confirm`]: nothing that lasts is done before somebody said yes.

use crate::{failure::Failure, output::Output};
use std::io::{self, IsTerminal, Write};

/// Asks whether what was shown is to be written to `endpoint`, unless that was said with `--yes`.
pub(crate) fn confirm(output: &Output, is_said: bool, endpoint: &str) -> Result<(), Failure> {
    if is_said {
        return Ok(());
    }
    let refusal = || Failure::guard(format!("nothing was written to {endpoint}: nobody said yes"));
    if output.is_json() || !io::stdin().is_terminal() {
        return Err(refusal().hint("the plan is above; say --yes to do it"));
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "Write this to {endpoint}? [y/N] ");
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") => Ok(()),
        _ => Err(refusal().hint("answer y, or say --yes")),
    }
}
