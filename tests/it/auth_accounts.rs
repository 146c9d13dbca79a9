//! Accounts, against the real server on both databases: log-in, refresh, log-out, and what the command line ends.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Fanfare, Postgres, Settings, eventually, http, temp_dir};

const SECRET: &str = "a secret for tests, long enough: 0123456789";

/// A server with an account `ann`, a manager.
struct House {
    server: Fanfare,
    settings: Settings,
    password: String,
}

impl House {
    async fn with(database: &str) -> Self {
        let settings = Settings::new()
            .env("SECRET_KEY", SECRET)
            .env("FANFARE__RATE__LOG_IN_PER_ADDRESS", "1000")
            .env("FANFARE__RATE__LOG_IN_PER_ACCOUNT", "1000")
            .env("FANFARE__RATE__PER_ADDRESS", "1000")
            .database(database);
        let (status, printed) =
            Fanfare::run(&settings, &["user", "add", "Ann", "--role", "manager", "--generate"]).await;
        assert!(status.success(), "{printed}");
        let password = password_in(&printed);
        Self { server: Fanfare::start(settings.clone()).await, settings, password }
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = http().post(format!("{}/api/v1/auth/{path}", self.server.url())).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    async fn log_in(&self) -> (String, String) {
        let (status, given) = self.post("login", None, json!({"name": "ann", "password": self.password})).await;
        assert_eq!(status, 200, "{given}");
        tokens(&given)
    }

    async fn me(&self, token: &str) -> (StatusCode, Value) {
        let request = http().get(format!("{}/api/v1/auth/me", self.server.url())).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn run(&self, args: &[&str]) -> String {
        let (status, printed) = Fanfare::run(&self.settings, args).await;
        assert!(status.success(), "{printed}");
        printed
    }

    async fn refused(&self, token: &str) {
        eventually("the token is refused", || async { (self.me(token).await.0 == 401).then_some(()) }).await;
    }
}

fn password_in(printed: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix("password  "));
    line.unwrap_or_else(|| panic!("no password in {printed}")).to_owned()
}

fn tokens(given: &Value) -> (String, String) {
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

async fn a_log_in_lives_and_ends(database: &str) {
    let house = House::with(database).await;
    let (status, given) = house.post("login", None, json!({"username": "ANN", "password": house.password})).await;
    assert_eq!(
        (status.as_u16(), &given["role"], &given["subject"]),
        (200, &json!("manager"), &json!("ann")),
        "{given}"
    );
    assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(900)));
    let (access, refresh) = tokens(&given);
    assert_eq!(house.me(&access).await.1, json!({"subject": "ann", "role": "manager"}));
    for (name, password) in [("ann", "not the password"), ("bob", house.password.as_str()), ("", ""), ("ann", "")] {
        let (status, problem) = house.post("login", None, json!({"name": name, "password": password})).await;
        assert_eq!(status, 401);
        assert_eq!(problem["detail"], "name or password is wrong", "the same for whoever there is not");
    }

    // A refresh token is good once. Shown again at once it is a lost answer, and the log-in goes on.
    let (status, given) = house.post("refresh", None, json!({"refresh_token": refresh})).await;
    assert_eq!(status, 200, "{given}");
    let (second, next) = tokens(&given);
    assert_eq!(house.post("refresh", None, json!({"refresh_token": refresh})).await.0, 401);
    assert_eq!(house.post("refresh", None, json!({"refresh_token": "made up"})).await.0, 401);
    assert_eq!((house.me(&second).await.0, house.me(&access).await.0), (StatusCode::OK, StatusCode::OK));

    // Log-out ends all of this log-in and nothing of another.
    let (elsewhere, _) = house.log_in().await;
    assert_eq!(house.post("logout", Some(&second), json!({})).await.0, 204);
    for token in [&access, &second] {
        let (status, problem) = house.me(token).await;
        assert_eq!((status.as_u16(), &problem["detail"]), (401, &json!("the token has been revoked")));
    }
    assert_eq!(house.post("refresh", None, json!({"refresh_token": next})).await.0, 401);
    assert_eq!(house.me(&elsewhere).await.0, 200);
    assert_eq!(house.post("logout", None, json!({})).await.0, 401);

    // An admin ends everything of a subject; the next log-in, in the same second, is good.
    let admin = house.run(&["token", "--sub", "root", "--role", "admin"]).await;
    assert_eq!(house.post("revoke", Some(&elsewhere), json!({"subject": "ann"})).await.0, 403);
    assert_eq!(house.post("revoke", Some(admin.trim()), json!({"subject": "ann"})).await.0, 204);
    assert_eq!(house.me(&elsewhere).await.0, 401);
    let (access, refresh) = house.log_in().await;
    assert_eq!(house.me(&access).await.0, 200);

    // The command line ends log-ins on a server that runs.
    let printed = house.run(&["user", "passwd", "ann", "--generate"]).await;
    house.refused(&access).await;
    assert_eq!(house.post("refresh", None, json!({"refresh_token": refresh})).await.0, 401);
    assert_eq!(house.post("login", None, json!({"name": "ann", "password": house.password})).await.0, 401);
    let house = House { password: password_in(&printed), ..house };
    let (access, _) = house.log_in().await;
    house.run(&["user", "disable", "ann"]).await;
    house.refused(&access).await;
    let body = json!({"name": "ann", "password": house.password});
    assert_eq!(house.post("login", None, body).await.1["detail"], "name or password is wrong");
    assert!(house.run(&["user", "list"]).await.contains("ann\tmanager\tdisabled"));
    house.run(&["user", "enable", "ann"]).await;
    let (access, _) = house.log_in().await;

    // What was revoked stays so over a restart.
    assert_eq!(house.post("logout", Some(&access), json!({})).await.0, 204);
    let mut house = house;
    house.server.restart().await;
    assert_eq!(house.me(&access).await.1["detail"], "the token has been revoked");
    let log = house.server.log();
    assert!(!log.contains(&house.password) && !log.contains(&access), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_lives_and_ends_on_sqlite() {
    let folder = temp_dir("accounts");
    a_log_in_lives_and_ends(&format!("sqlite://{}", folder.path().join("fanfare.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_lives_and_ends_on_postgresql() {
    a_log_in_lives_and_ends(&Postgres::database().await.url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_the_other_node() {
    let house = House::with(&Postgres::database().await.url).await;
    let second = House {
        server: Fanfare::start(house.settings.clone()).await,
        settings: house.settings.clone(),
        password: house.password.clone(),
    };
    let (access, _) = house.log_in().await;
    assert_eq!(second.me(&access).await.0, 200);
    assert_eq!(house.post("logout", Some(&access), json!({})).await.0, 204);
    let begun = std::time::Instant::now();
    second.refused(&access).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_log_in_and_the_command_says_what_is_wrong() {
    let server = Fanfare::start(Settings::new()).await;
    let body = json!({"name": "ann", "password": "a password of some length"});
    let answer = http().post(format!("{}/api/v1/auth/login", server.url())).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    let folder = temp_dir("accounts");
    let place = folder.path().to_str().unwrap();
    let add = ["user", "add", "bob", "--generate", "--data-dir", place];
    assert!(Fanfare::run(&Settings::new(), &add).await.0.success());
    for (args, complaint) in [
        (&add[..], "the name is taken"),
        (&["user", "add", "b b", "--generate", "--data-dir", place], "a name is 1 to 100"),
        // Standard input is empty.
        (&["user", "add", "short", "--data-dir", place], "a password has 12 to 256 characters"),
        (&["user", "disable", "nobody", "--data-dir", place], "there is no such account"),
    ] {
        let (status, printed) = Fanfare::run(&Settings::new(), args).await;
        assert!(!status.success() && printed.contains(complaint), "{args:?}: {printed}");
    }
}
