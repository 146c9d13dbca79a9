//! The parts that do long work: learning events and job matching, the same in `serve` and in `worker`.

use anyhow::Context;

use crate::alerts::{Letter, Mailer};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Db;
use crate::feeds::Outbox;
use crate::feeds::matching::{Matching, Parcel, Postman};
use crate::feeds::progress::{self, Effects, JournalChoice, Progress, Watch};
use crate::queue::{Intake, Journal, Outcome, Queue, RedisStream};
use crate::series::Writer;
use crate::tasks::Tasks;
use crate::telemetry::Registry;

/// Where accepted events wait, when that is Redis.
pub(super) async fn stream(settings: &Settings) -> anyhow::Result<Option<RedisStream>> {
    match (&settings.redis.url, settings.progress.journal) {
        (None, _) | (_, JournalChoice::Table) => Ok(None),
        (Some(url), _) => {
            let options = settings.progress.journal_options();
            let stream = RedisStream::connect(url.expose(), progress::TOPIC, &options).await;
            Ok(Some(stream.context("Redis (REDIS_URL) cannot be used")?))
        }
    }
}

pub(super) fn progress(
    settings: &Settings,
    db: &Db,
    clock: &Clock,
    queue: &Queue,
    stream: Option<RedisStream>,
    registry: &mut Registry,
    tasks: &Tasks,
) -> Progress {
    let journal = stream.map_or_else(|| Journal::Table(queue.clone()), |stream| Journal::Redis(Box::new(stream)));
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
    stream: Option<RedisStream>,
    registry: &mut Registry,
    tasks: &Tasks,
) {
    let options = settings.progress.clone();
    let watch = Watch::new(db.clone(), clock.clone(), outbox.clone(), options.clone(), registry);
    let effects = Effects::new(clock.clone(), outbox.clone(), writer.clone(), options, registry);
    tasks.spawn("progress events", effects.run(queue.clone(), stream, tasks.stop()));
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
