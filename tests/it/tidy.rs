//! The house's law, executed: who may use whom, which library stands where, how long a file is and what things are called.

use std::collections::BTreeSet;
use std::path::Path;

use fanfare::wire::Close;

/// Each top-level module and those of ours that it may use. `*`: all of them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("telemetry", &[]),
    ("wire", &[]),
    ("tasks", &["telemetry"]),
    ("stream", &["wire", "clock", "telemetry", "tasks"]),
    ("db", &["telemetry"]),
    ("series", &["db", "clock", "telemetry", "tasks"]),
    ("queue", &["db", "clock", "telemetry", "tasks"]),
    ("auth", &["stream", "clock", "db", "telemetry"]),
    ("http", &["auth", "stream", "db", "clock", "telemetry"]),
    ("session", &["stream", "wire", "auth", "http", "clock", "telemetry"]),
    ("feeds", &["stream", "db", "series", "queue", "auth", "http", "clock", "telemetry", "tasks"]),
    // Of `auth` only `Secret`: options hold passwords. Of `http` only `outbound`.
    ("alerts", &["queue", "db", "auth", "http", "clock", "telemetry", "tasks"]),
    (
        "admin",
        &[
            "feeds",
            "alerts",
            "session",
            "http",
            "auth",
            "queue",
            "series",
            "db",
            "stream",
            "wire",
            "clock",
            "tasks",
            "telemetry",
        ],
    ),
    // May use what `admin` may, and its handlers, which it describes.
    (
        "contract",
        &[
            "admin",
            "feeds",
            "alerts",
            "session",
            "http",
            "auth",
            "queue",
            "series",
            "db",
            "stream",
            "wire",
            "clock",
            "tasks",
            "telemetry",
        ],
    ),
    // Speaks to a server as any client does.
    ("demo", &["clock"]),
    (
        "config",
        &[
            "telemetry",
            "contract",
            "stream",
            "session",
            "auth",
            "http",
            "db",
            "series",
            "queue",
            "feeds",
            "alerts",
            "admin",
        ],
    ),
    ("app", &["*"]),
    ("routes", &["*"]),
    ("commands", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// Libraries that stay in their place: paths under `src/` that begin or end so.
const PLACES: &[(&str, &[&str])] = &[
    // `feeds/failure.rs` is how a rule's refusal becomes an answer.
    ("axum", &["http/", "session/", "/routes.rs", "feeds/failure.rs", "admin/", "app/mod.rs", "routes.rs"]),
    ("sqlx", &["db/"]),
    (
        "fred",
        &[
            "stream/broker/redis/",
            "queue/redis.rs",
            "http/side_redis.rs",
            "http/limits/redis.rs",
            "http/cache/redis.rs",
        ],
    ),
    ("influxdb2", &["series/influx/"]),
    ("reqwest011", &["series/influx/"]),
    ("mio", &["stream/hub/"]),
    ("lettre", &["alerts/"]),
];

/// Where rows may be declared: `sqlx::FromRow` and nothing else of that library.
const ROWS: &[&str] = &["sql.rs", "feeds/figures.rs"];

const MOST_LINES: usize = 400;
const MOST_LINES_OF_MAIN: usize = 70;

/// One source file, its comments and strings taken apart.
struct Source {
    /// Under `src/`, with slashes.
    path: String,
    text: String,
    /// The program without comments, without the content of strings, and without the tests at its end.
    code: String,
    /// What the strings of the program say.
    strings: Vec<String>,
}

impl Source {
    /// `stream` for `stream/hub/mod.rs`, `routes` for `routes.rs`.
    fn top(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// `["stream", "hub"]` for `stream/hub/mod.rs`.
    fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap();
        path.split('/').filter(|part| *part != "mod").map(str::to_owned).collect()
    }

    /// Every path of ours that the program names, from the crate's root on.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            if !self.code[..at].ends_with(|c: char| c == '$' || c == '_' || c.is_alphanumeric()) {
                found.extend(tree(&self.code[at + "crate::".len()..]));
            }
        }
        for (at, _) in self.code.match_indices("super::") {
            if self.code[..at].ends_with("super::") {
                continue;
            }
            let (mut module, mut rest) = (self.module(), &self.code[at..]);
            while let Some(after) = rest.strip_prefix("super::") {
                assert!(module.pop().is_some(), "{}: more supers than modules", self.path);
                rest = after;
            }
            found.extend(tree(rest).into_iter().map(|path| [&module[..], &path].concat()));
        }
        found
    }

    fn uses_library(&self, name: &str) -> impl Iterator<Item = &str> {
        let path = format!("{name}::");
        let ats: Vec<usize> = self.code.match_indices(&path).map(|(at, _)| at).collect();
        ats.into_iter()
            .filter(|at| !self.code[..*at].ends_with(|c: char| c == '_' || c.is_alphanumeric()))
            .map(move |at| self.code[at + name.len() + 2..].lines().next().unwrap_or_default())
    }
}

/// The paths of `a::{b, c::d}`: `[a, b]` and `[a, c, d]`.
fn tree(text: &str) -> Vec<Vec<String>> {
    let name: String = text.chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect();
    if !name.is_empty() {
        return match text[name.len()..].strip_prefix("::") {
            Some(rest) => tree(rest).into_iter().map(|path| [vec![name.clone()], path].concat()).collect(),
            None => vec![vec![name]],
        };
    }
    let Some(group) = text.strip_prefix('{') else { return vec![Vec::new()] };
    let (mut depth, mut begin, mut paths) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                paths.extend(tree(group[begin..at].trim()).into_iter().filter(|path| !path.is_empty()));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    paths
}

/// Blanks comments and strings; answers the strings as well.
fn take_apart(text: &str) -> (String, Vec<String>) {
    let (mut code, mut strings, mut rest) = (String::new(), Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let hashes = rest.strip_prefix('r').map_or(0, |raw| raw.chars().take_while(|c| *c == '#').count());
        let raw = rest.starts_with('r') && rest[1 + hashes..].starts_with('"');
        let word_before = code.ends_with(|c: char| c == '_' || c.is_alphanumeric());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if raw && (!word_before || code.ends_with('b')) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            let length = rest[begin..].find(&end).unwrap();
            strings.push(rest[begin..begin + length].to_owned());
            begin + length + end.len()
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.unwrap();
            strings.push(rest[1..=end].to_owned());
            end + 2
        } else if let Some(quoted) =
            ["'\"'", "'\\\"'", "'\\''", "'\\\\'"].iter().find(|quoted| rest.starts_with(**quoted))
        {
            quoted.len()
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    (code, strings)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let program = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
                let (code, strings) = take_apart(program);
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text, code, strings });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "the sources are found");
    sources
}

#[track_caller]
fn none(wrongs: Vec<String>) {
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}

#[test]
fn modules_use_only_whom_they_may() {
    let sources = sources();
    // `args!` is exported at the root, as macros are; it is `db`'s.
    let owner = |name: &str| if name == "args" { "db".to_owned() } else { name.to_owned() };
    let mut wrongs = Vec::new();
    for source in &sources {
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.top()) else {
            wrongs.push(format!("{}: {} is not in the table of who may use whom", source.path, source.top()));
            continue;
        };
        for path in source.paths() {
            let Some(used) = path.first().map(|name| owner(name)) else { continue };
            let known = MAY_USE.iter().any(|(module, _)| *module == used);
            if known && used != source.top() && !allowed.contains(&used.as_str()) && !allowed.contains(&"*") {
                wrongs.push(format!("{} may not use {}", source.path, path.join("::")));
            }
        }
    }
    none(wrongs);
}

#[test]
fn no_feed_uses_another() {
    let sources = sources();
    let feeds: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("feeds/")?.split_once('/'))
        .map(|it| it.0)
        // What all feeds share, and no feed itself.
        .filter(|folder| *folder != "outbox")
        .collect();
    let mut wrongs = Vec::new();
    for source in &sources {
        let Some((own, _)) = source.path.strip_prefix("feeds/").and_then(|path| path.split_once('/')) else { continue };
        for path in source.paths() {
            if path.len() >= 2 && path[0] == "feeds" && path[1] != own && feeds.contains(path[1].as_str()) {
                wrongs.push(format!("{} uses {}", source.path, path.join("::")));
            }
        }
    }
    none(wrongs);
}

#[test]
fn libraries_stay_in_their_place() {
    let mut wrongs = Vec::new();
    for source in sources() {
        for (library, places) in PLACES {
            if places.iter().any(|place| source.path.starts_with(place) || source.path.ends_with(place)) {
                continue;
            }
            for used in source.uses_library(library) {
                let row = used.starts_with("FromRow") && ROWS.iter().any(|place| source.path.ends_with(place));
                if !row {
                    wrongs.push(format!("{} uses {library}::{used}", source.path));
                }
            }
        }
    }
    none(wrongs);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrongs = Vec::new();
    for Source { path, text, .. } in sources() {
        let (lines, most) = (text.lines().count(), if path == "main.rs" { MOST_LINES_OF_MAIN } else { MOST_LINES });
        if lines > most {
            wrongs.push(format!("{path} has {lines} lines; {most} are the most"));
        }
        if !text.starts_with("//! ") {
            wrongs.push(format!("{path} does not begin with what it is (//!)"));
        }
        if text.contains("#![allow") {
            wrongs.push(format!("{path} allows something for all of itself"));
        }
    }
    none(wrongs);
}

#[test]
fn names_tell_a_role() {
    let mut wrongs = Vec::new();
    for source in sources() {
        let words: Vec<&str> =
            source.code.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let vague = ["Manager", "Service", "Helper", "Helpers", "Util", "Utils"];
            if ["struct", "enum", "trait", "type"].contains(&pair[0]) && vague.iter().any(|end| pair[1].ends_with(end))
            {
                wrongs.push(format!("{}: {} says nothing of what it does", source.path, pair[1]));
            }
        }
        let file = source.path.rsplit('/').next().unwrap();
        if ["util.rs", "utils.rs", "helper.rs", "helpers.rs", "common.rs", "misc.rs"].contains(&file) {
            wrongs.push(format!("{} says nothing of what is in it", source.path));
        }
    }
    none(wrongs);
}

#[test]
fn only_the_app_knows_all_settings() {
    let may = |source: &Source| ["app", "config", "commands", "main"].contains(&source.top());
    let wrongs = sources().into_iter().filter(|source| !may(source)).filter(|source| {
        let words = source.code.split(|c: char| c != '_' && !c.is_alphanumeric());
        words.into_iter().any(|word| word == "Settings")
    });
    none(wrongs.map(|source| format!("{} reads the whole Settings", source.path)).collect());
}

#[test]
fn the_stream_names_no_feed() {
    const FEEDS: [&str; 6] = ["inventory", "price", "progress", "matching", "stock", "instructor"];
    let mut wrongs = Vec::new();
    for source in sources().iter().filter(|source| ["stream", "wire", "session"].contains(&source.top())) {
        let code = source.code.to_lowercase();
        for feed in FEEDS {
            if code.contains(feed) || source.strings.iter().any(|string| string.to_lowercase().contains(feed)) {
                wrongs.push(format!("{} names {feed}", source.path));
            }
        }
    }
    none(wrongs);
}

#[test]
fn every_close_code_is_explained_to_clients() {
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md");
    let protocol = std::fs::read_to_string(protocol).expect("docs/PROTOCOL.md");
    let mut wrongs = Vec::new();
    for close in Close::ALL {
        let row = protocol.lines().find(|line| line.starts_with(&format!("| {} |", close.code())));
        match row {
            None => wrongs.push(format!("{} ({}) has no row in docs/PROTOCOL.md", close.code(), close.reason())),
            Some(row) if !row.contains(close.reason()) => {
                wrongs.push(format!("the row of {} does not say `{}`", close.code(), close.reason()));
            }
            Some(_) => {}
        }
    }
    none(wrongs);
}

#[test]
fn the_law_is_read_right() {
    let text =
        "// \"x\" crate::a::B\nuse crate::{c::{D, e::F}, g};\nlet s = r#\"crate::h\"#; let t = \"a\\\"b\"; '\"';\n";
    let (code, strings) = take_apart(text);
    assert_eq!(strings, ["crate::h", "a\\\"b"]);
    let source = Source { path: "x/y/mod.rs".into(), text: text.into(), code, strings };
    let paths: Vec<String> = source.paths().iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["c::D", "c::e::F", "g"]);
    let up = Source { code: "use super::super::z::W; super::v();".into(), path: "x/y/q.rs".into(), ..source };
    assert_eq!(up.paths(), [vec!["x", "z", "W"], vec!["x", "y", "v"]]);
}
