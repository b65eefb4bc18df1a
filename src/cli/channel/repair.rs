//! `spangate channel repair`: what a start refuses is mended, said before it is done.
//!
//! Exit code 0: nothing to mend, or mended; 4: there is, and `--yes` was not given, or it cannot be.

use std::sync::Arc;

use super::verify::line;
use super::{failed, lock, survey};
use crate::channel::Takes;
use crate::channel::repair::{Impossible, Plan};
use crate::channel::survey::{Depth, Survey};
use crate::cli::{Exit, answer, complain};
use crate::config::Settings;
use crate::disk::Disk;
use crate::drain::aside;

pub fn repair(disk: &Arc<dyn Disk>, settings: &Settings, drains: &[String], yes: bool) -> Exit {
    let _lock = match lock(&**disk, settings) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let survey = match survey(disk, settings, Depth::Whole) {
        Ok(survey) => survey,
        Err(exit) => return exit,
    };
    let plan = match Plan::of(&survey, &known(settings, drains)) {
        Ok(plan) => plan,
        Err(Impossible::Name(error)) => return failed(&error),
        Err(error) => return complain(&format!("{}{error}", found(&survey)), Exit::Damaged),
    };
    if plan.is_empty() {
        return answer(&format!("{}nothing that a start refuses: there is nothing to repair\n", found(&survey)));
    }
    let steps: String = plan.steps.iter().map(|step| format!("repair  {step}\n")).collect();
    let kept = "what is replaced or not the channel's is kept in damaged/";
    if !yes {
        return match answer(&format!("{}{steps}{kept}; --yes does it\n", found(&survey))) {
            Exit::Done => Exit::Damaged,
            exit => exit,
        };
    }
    match plan.carry_out(&**disk) {
        Ok(()) => answer(&format!("{}{steps}done; {kept}\n", found(&survey))),
        Err(error) => complain(&format!("{}: {error}; the same command goes on", survey.dir.display()), Exit::Fault),
    }
}

/// What is wrong, a line each.
fn found(survey: &Survey) -> String {
    survey.findings.iter().map(line).collect()
}

/// The drains that the gateway is to have.
fn known(settings: &Settings, more: &[String]) -> Vec<(String, Takes)> {
    let groups = settings.drains.iter().map(|drain| drain.drain.name.clone());
    let archives = settings.archives.iter().map(|archive| archive.name.clone());
    let common = groups.chain(archives).chain(more.iter().cloned()).filter(|name| name != aside::NAME);
    let own = (aside::NAME.to_owned(), Takes::Addressed);
    common.map(|name| (name, Takes::Common)).chain([own]).collect()
}
