//! What a failed statement lets its caller know.

use fanfare::db::{Db, DbMetrics, DbOptions};
use fanfare::telemetry::Registry;

use crate::support::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_not_told_as_undone() {
    let cluster = Postgres::start().await;
    let database = cluster.create_database().await;
    let metrics = DbMetrics::register(&mut Registry::default());
    let db = Db::open(&database.url, &DbOptions::default(), metrics).await.expect("open");
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)", vec![]).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    tx.execute("INSERT INTO t VALUES (1)", vec![]).await.unwrap();
    cluster.kill();
    let error = tx.commit().await.expect_err("nobody answers");
    assert!(error.is_unsure() && !error.is_unavailable(), "{error:?}");
    // Before a transaction has begun, nothing can have been changed.
    let error = db.begin().await.err().expect("nobody answers");
    assert!(error.is_unavailable() && !error.is_unsure(), "{error:?}");
}
