//! Another configuration while the gateway runs: SIGHUP, or `POST /reload`.
//!
//! The same file is read again, with the flags and the environment of the start. All is understood,
//! checked and made ready before anything changes; whatever is wrong changes nothing and says why.
//! Then only what differs changes: listeners keep their sockets and connections, drains their place
//! in the channel. One reload at a time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Done, StatusCode};
use crate::channel::{Account, Channel, Takes, Tap};
use crate::config::{Change, Changes, Report, Settings, Understood};
use crate::gateway::build::LeftOver;
use crate::gateway::crew::{Crew, Ready};
use crate::gateway::report::{Stage, Watch};
use crate::gateway::{Error, build, crew};
use crate::listener::{self, Live};
use crate::tasks;

/// How long the answer waits for drains that hand over, for it to say that all is done. A sink that hangs takes longer.
const HAND_OVER_WAIT: Duration = Duration::from_secs(5);

/// What is asked of whoever started the gateway.
pub struct Starter {
    /// Reads the configuration again, as at the start. Blocks.
    pub reread: Box<dyn Fn() -> Result<Understood, Report> + Send + Sync>,
    /// Takes over another level of the log.
    pub set_log_level: Box<dyn Fn(&str) + Send + Sync>,
}

/// What takes over its settings in place.
pub struct InPlace {
    pub scribe: Live<listener::scribe::Settings>,
    pub http: Live<listener::http::Settings>,
    pub door: admin::Door,
}

/// Carries reloads out.
pub struct Reload {
    starter: Arc<Starter>,
    in_place: InPlace,
    watch: Arc<Watch>,
    now: Mutex<Now>,
}

/// What is in force.
struct Now {
    understood: Understood,
    crew: Crew,
}

/// Why a reload changed nothing.
enum Refusal {
    Configuration(Report),
    NeedsRestart(Vec<Change>),
    /// The configuration and the gateway as it is do not go together, or the machine did not do its part.
    Here(Error),
    NotNow,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Here(error)
    }
}

impl From<Refusal> for Done {
    fn from(refusal: Refusal) -> Done {
        let (status, text) = match refusal {
            Refusal::Configuration(report) => (StatusCode::UNPROCESSABLE_ENTITY, report.to_string()),
            Refusal::NeedsRestart(changes) => {
                let mut text = String::new();
                // Writing to a String cannot fail.
                changes.iter().for_each(|change| _ = writeln!(text, "{}: {change}", change.at));
                (StatusCode::CONFLICT, text + "only a restart brings these into force")
            }
            Refusal::Here(error @ Error::Config(_)) => (StatusCode::CONFLICT, error.to_string()),
            Refusal::Here(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Refusal::NotNow => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting or stopping".to_owned()),
        };
        Done { status, text: format!("{text}\nnothing was changed\n") }
    }
}

/// What is to be done, with everything that can fail behind it.
struct Plan {
    understood: Understood,
    changes: Changes,
    token: Option<admin::Token>,
    added: Vec<(Ready, Tap)>,
    changed: Vec<Ready>,
    gone: Vec<String>,
}

impl Reload {
    pub fn new(starter: Starter, understood: Understood, in_place: InPlace, watch: Arc<Watch>, crew: Crew) -> Reload {
        Reload { starter: Arc::new(starter), in_place, watch, now: Mutex::new(Now { understood, crew }) }
    }

    /// Reloads, and says in the log and to whoever asked what came of it.
    pub async fn reload(&self, asked_by: &'static str) -> Done {
        let mut now = self.now.lock().await;
        match self.plan(&now).await {
            Ok(plan) => self.carry_out(plan, &mut now, asked_by).await,
            Err(refusal) => {
                let done = Done::from(refusal);
                tracing::error!(asked_by, why = done.text.trim_end(), "the configuration was not reloaded");
                done
            }
        }
    }

    async fn plan(&self, now: &Now) -> Result<Plan, Refusal> {
        if self.watch.stage() != Stage::Running {
            return Err(Refusal::NotNow);
        }
        let starter = self.starter.clone();
        let understood = tasks::blocking(move || (starter.reread)()).await.map_err(Refusal::Configuration)?;
        let changes = Changes::between(&now.understood.resolved, &understood.resolved);
        let stuck: Vec<Change> = changes.needs_restart().cloned().collect();
        if !stuck.is_empty() {
            return Err(Refusal::NeedsRestart(stuck));
        }
        let (settings, crew) = (&understood.settings, &now.crew);
        let gone = left_over(settings, crew)?;
        let (token, disk) = (settings.admin.clone(), crew.kit().disk.clone());
        let token = tasks::blocking(move || build::token(&token, &*disk)).await?;
        let differs = |name: &str| !crew.runs(name) || changes.of_drain(name).next().is_some();
        let ready = Ready::all(settings, crew.kit().channel.id(), &crew.kit().disk, differs)?;
        let (changed, added) = ready.into_iter().partition(|ready| crew.runs(&ready.name));
        let added = come_and_go(&crew.kit().channel, added, &gone, &settings.retired).await?;
        Ok(Plan { understood, changes, token, added, changed, gone })
    }

    /// Nothing of this fails.
    async fn carry_out(&self, plan: Plan, now: &mut Now, asked_by: &'static str) -> Done {
        let Plan { understood, changes, token, added, changed, gone } = plan;
        let mut said = told(&changes, &added, &changed, &gone);
        let settings = &understood.settings;
        self.in_place.scribe.set(settings.scribe.clone());
        self.in_place.http.set(settings.http.clone());
        now.crew.kit().kept_in.send_replace(crew::kept_in(settings));
        if settings.log.level != now.understood.settings.log.level {
            (self.starter.set_log_level)(&settings.log.level);
        }
        if self.in_place.door.set(token) {
            said.push("admin.token_file: another token".to_owned());
        }
        let mut under_way: BTreeMap<String, CancellationToken> = BTreeMap::new();
        for name in gone {
            under_way.insert(name.clone(), now.crew.give_up(name));
        }
        for ready in changed {
            under_way.insert(ready.name.clone(), now.crew.hand_over(ready));
        }
        added.into_iter().for_each(|(ready, tap)| now.crew.begin(ready, tap));
        now.understood = understood;
        if said.is_empty() {
            said.push("nothing differs".to_owned());
        }
        tracing::info!(asked_by, changes = %said.join("; "), "the configuration was reloaded");
        said.extend(still_under_way(under_way).await);
        Done { status: StatusCode::OK, text: said.join("\n") + "\n" }
    }
}

/// The drains that the channel has and this configuration does not, but for those on their way out.
fn left_over(settings: &Settings, crew: &Crew) -> Result<Vec<String>, Error> {
    let mut snapshot = crew.kit().channel.snapshot();
    snapshot.accounts.retain(|account| crew.runs(&account.drain) || !account.attached);
    build::left_over(settings, &snapshot).map_err(LeftOver::at_reload)
}

/// Gives the drains that are new a place in the channel and ends the share of those that go: all of it, or nothing.
async fn come_and_go(
    channel: &Channel,
    new: Vec<Ready>,
    gone: &[String],
    retired: &[String],
) -> Result<Vec<(Ready, Tap)>, Error> {
    let before = channel.snapshot().accounts;
    let mut attached = Vec::new();
    let whole = attach(channel, &before, new, &mut attached).await.and_then(|()| release(channel, gone, retired));
    match whole {
        Ok(()) => Ok(attached),
        Err(error) => {
            take_back(channel, &before, attached).await;
            Err(error)
        }
    }
}

/// Gives the drains that are new a place in the channel, one after the other.
async fn attach(
    channel: &Channel,
    before: &[Account],
    new: Vec<Ready>,
    attached: &mut Vec<(Ready, Tap)>,
) -> Result<(), Error> {
    if let Some(leaving) = before.iter().find(|a| a.attached && new.iter().any(|ready| ready.name == a.drain)) {
        let drain = &leaving.drain;
        return Err(Error::Config(format!("drain {drain} is still being given up, and cannot begin anew until then")));
    }
    for ready in new {
        let tap = build::tap(channel, &ready.name, ready.start, Takes::Common).await?;
        attached.push((ready, tap));
    }
    Ok(())
}

/// Ends the share in the log of the drains that go, in a moment in which nothing waits for them: what is accepted while
/// they end is not theirs, so none of it is lost to them. Those that are retired give up what waits.
fn release(channel: &Channel, gone: &[String], retired: &[String]) -> Result<(), Error> {
    let going: Vec<String> = gone.iter().filter(|drain| !retired.contains(drain)).cloned().collect();
    channel.release(&going).map_err(|(drain, waiting)| LeftOver { drain, waiting }.at_reload())
}

/// Gives up drains that had just begun, for nothing. One that cannot be given up goes with the next reload or start.
async fn take_back(channel: &Channel, before: &[Account], attached: Vec<(Ready, Tap)>) {
    let begun = attached.into_iter().map(|(ready, _tap)| ready.name);
    for drain in begun.filter(|name| before.iter().all(|account| account.drain != *name)) {
        let (channel, name) = (channel.clone(), drain.clone());
        if let Err(error) = tasks::blocking(move || channel.forget(&name)).await {
            tracing::warn!(drain, %error, "a drain that did not begin could not be given up");
        }
    }
}

/// What changes, a line each.
fn told(changes: &Changes, added: &[(Ready, Tap)], changed: &[Ready], gone: &[String]) -> Vec<String> {
    let gateway = changes.of_gateway().map(ToString::to_string);
    let added = added.iter().map(|(ready, _)| format!("drain {} begins", ready.name));
    let gone = gone.iter().map(|name| format!("drain {name} is given up"));
    let changed = changed.iter().flat_map(|ready| changes.of_drain(&ready.name).map(ToString::to_string));
    gateway.chain(added).chain(changed).chain(gone).collect()
}

/// Which of them have not handed over within [`HAND_OVER_WAIT`].
async fn still_under_way(drains: BTreeMap<String, CancellationToken>) -> Vec<String> {
    let end = Instant::now() + HAND_OVER_WAIT;
    let late = drains.into_iter().map(async |(name, done)| {
        let late = timeout_at(end, done.cancelled()).await.is_err();
        late.then(|| format!("drain {name} still waits for batches that are on their way to a sink"))
    });
    join_all(late).await.into_iter().flatten().collect()
}
