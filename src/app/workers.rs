//! The parts that do long work: learning events and job matching, the same in `serve` and in `worker`.

use anyhow::Context;

use crate::alerts::{Letter, Mailer};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Db;
use crate::feeds::Outbox;
use crate::feeds::matching::{Matching, Parcel, Postman};
use crate::feeds::progress::{self, Effects, JournalChoice, Progress, Watch};
use crate::queue::{FileJournal, Intake, Journal, Outcome, Queue, RedisStream};
use crate::series::Writer;
use crate::tasks::Tasks;
use crate::telemetry::Registry;

/// Where accepted events wait: Redis when there is one; a file beside the embedded database when this process alone takes
/// and applies them; else the queue's table.
pub(super) async fn journal(settings: &Settings, queue: &Queue, takes: bool) -> anyhow::Result<Journal> {
    let options = settings.progress.journal_options();
    let path = settings.server.data_dir.join("events.db");
    let of_file = settings.redis.url.is_none()
        && settings.progress.journal == JournalChoice::Auto
        && settings.progress.worker
        && settings.database_url().starts_with("sqlite:");
    if takes && of_file {
        let file = FileJournal::open(&path, &options).await;
        return Ok(Journal::File(file.with_context(|| format!("{} cannot be used", path.display()))?));
    }
    if takes && path.is_file() {
        // Events that were accepted under other settings.
        let moved = async { FileJournal::open(&path, &options).await?.move_into(queue, progress::TOPIC).await };
        moved.await.with_context(|| format!("the events in {} cannot be taken over", path.display()))?;
    }
    match (&settings.redis.url, settings.progress.journal) {
        (_, JournalChoice::Table) => {}
        (Some(url), _) => {
            let stream = RedisStream::connect(url.expose(), progress::TOPIC, &options).await;
            return Ok(Journal::Redis(Box::new(stream.context("Redis (REDIS_URL) cannot be used")?)));
        }
        (None, _) => {}
    }
    Ok(Journal::Table(queue.clone()))
}

pub(super) fn progress(
    settings: &Settings,
    db: &Db,
    clock: &Clock,
    journal: Journal,
    registry: &mut Registry,
    tasks: &Tasks,
) -> Progress {
    let options = settings.progress.clone();
    let intake = Intake::start(journal, progress::TOPIC, &options.journal_options(), tasks, registry);
    Progress::new(db.clone(), clock.clone(), intake, options, registry)
}

/// Events and signals, in `tasks`.
#[allow(clippy::too_many_arguments, reason = "the parts of the app")]
pub(super) fn apply_events(
    settings: &Settings,
    db: &Db,
    clock: &Clock,
    queue: &Queue,
    outbox: &Outbox,
    writer: &Writer,
    journal: Journal,
    registry: &mut Registry,
    tasks: &Tasks,
) {
    let options = settings.progress.clone();
    let watch = Watch::new(db.clone(), clock.clone(), outbox.clone(), options.clone(), registry);
    let effects = Effects::new(clock.clone(), outbox.clone(), writer.clone(), options, registry);
    tasks.spawn("progress events", effects.run(queue.clone(), journal, tasks.stop()));
    tasks.spawn("progress watch", watch.run(tasks.stop()));
}

pub(super) fn matching(settings: &Settings, db: &Db, outbox: &Outbox, clock: &Clock) -> anyhow::Result<Matching> {
    settings.matching.check()?;
    let post = Box::new(PostOffice(Mailer::new(&settings.smtp)?));
    Ok(Matching::new(db.clone(), outbox.clone(), clock.clone(), settings.matching.clone(), post))
}

/// The mails of job matching go out the way of alerts.
struct PostOffice(Option<Mailer>);

#[async_trait::async_trait]
impl Postman for PostOffice {
    async fn deliver(&self, parcel: Parcel<'_>) -> Outcome {
        let Some(mailer) = &self.0 else { return Outcome::Retry("no mail server is configured (SMTP_HOST)".into()) };
        let letter = Letter {
            delivery_id: &parcel.delivery_id,
            to: parcel.to,
            subject: parcel.letter.subject,
            text: parcel.letter.text,
            html: parcel.letter.html,
            unsubscribe_url: &parcel.unsubscribe_url,
            at: parcel.at,
        };
        mailer.post(letter).await
    }
}
