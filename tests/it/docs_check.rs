//! What the documents say is there: links, anchors, settings, commands, flags, files, and the tests that show each threat.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Every document, and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "deploy/README.md", "web/README.md"].map(|it| root().join(it)).into();
    for folder in ["docs", "docs/runbooks"] {
        let entries =
            std::fs::read_dir(root().join(folder)).expect("a folder").map(|entry| entry.expect("entry").path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(found.len() > 20);
    found.into_iter().map(|path| (path.clone(), read(path))).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[track_caller]
fn none(wrongs: Vec<String>) {
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}

/// The lines outside and inside of code fences.
fn split_fences(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut code, mut within) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            within = !within;
        } else if within {
            code.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    (prose, code)
}

/// What stands between backticks.
fn inline_code(prose: &str) -> Vec<String> {
    prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What a heading is linked by, as the usual viewers make it.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrongs = Vec::new();
    for (path, text) in documents() {
        let (prose, _) = split_fences(&text);
        for after in prose.split("](").skip(1) {
            let Some(target) = after.split(')').next().filter(|target| !target.contains("://")) else { continue };
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            if !to.exists() {
                wrongs.push(format!("{}: {target} is not there", shown(&path)));
            } else if !fragment.is_empty() && to.extension().is_some_and(|end| end == "md") {
                let (prose, _) = split_fences(&read(&to));
                if !prose.lines().any(|line| line.starts_with('#') && anchor(line) == fragment) {
                    wrongs.push(format!("{}: {target}: there is no such heading", shown(&path)));
                }
            }
        }
    }
    none(wrongs);
}

/// `section.key` of everything that config/default.toml has, those that are commented out as well.
fn settings() -> BTreeSet<String> {
    let (mut found, mut section) = (BTreeSet::new(), String::new());
    for line in read(root().join("config/default.toml")).lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().expect("a name").to_owned();
        } else {
            let key: String =
                line.trim_start_matches("# ").chars().take_while(|c| *c == '_' || c.is_ascii_alphanumeric()).collect();
            if !section.is_empty() && !key.is_empty() {
                found.insert(format!("{section}.{key}"));
            }
        }
    }
    found
}

#[test]
fn settings_that_are_named_exist() {
    let settings = settings();
    let sections: BTreeSet<&str> = settings.iter().map(|key| key.split('.').next().expect("a section")).collect();
    let is_there = |key: &str| {
        let group = format!("{key}.");
        settings.contains(key) || settings.iter().any(|known| known.starts_with(&group))
            // Tables whose keys are the operator's: stream.when_full.<feed>.
            || key.rsplit_once('.').is_some_and(|(table, _)| settings.contains(table))
    };
    let mut wrongs = Vec::new();
    for (path, text) in documents() {
        let (prose, code) = split_fences(&text);
        for word in inline_code(&prose)
            .iter()
            .chain(&code)
            .flat_map(|text| text.split(|c: char| !(c == '.' || c == '_' || c.is_ascii_alphanumeric())))
        {
            let word = word.trim_end_matches('.');
            if let Some(name) = word.strip_prefix("FANFARE__") {
                let key = name.to_lowercase().replace("__", ".");
                if name != "SECTION__KEY" && !is_there(&key) {
                    wrongs.push(format!("{}: {word}: there is no {key}", shown(&path)));
                }
            } else if let Some((section, rest)) = word.split_once('.') {
                let plain = rest.bytes().all(|b| b == b'_' || b == b'.' || b.is_ascii_lowercase());
                let file = ["rs", "md", "toml", "yaml", "json", "lua", "db", "sh", "js", "conf", "py", "html", "ts"];
                let is_file = file.contains(&rest.rsplit('.').next().expect("an end"));
                if sections.contains(section) && plain && rest.len() > 2 && !is_file && !is_there(word) {
                    wrongs.push(format!("{}: there is no setting {word}", shown(&path)));
                }
            }
        }
    }
    none(wrongs);
}

/// What `fanfare … --help` says, asked once for each command.
#[derive(Default)]
struct Help(BTreeMap<Vec<String>, String>);

impl Help {
    fn of(&mut self, path: &[String]) -> &str {
        self.0.entry(path.to_vec()).or_insert_with(|| {
            let output =
                Command::new(env!("CARGO_BIN_EXE_fanfare")).args(path).arg("--help").output().expect("fanfare");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    fn has_command(&mut self, path: &[String], word: &str) -> bool {
        let help = self.of(path).to_owned();
        let listed =
            help.split("Commands:").nth(1).map(|rest| rest.split("\n\n").next().unwrap_or_default().to_owned());
        listed.is_some_and(|listed| listed.lines().any(|line| line.split_whitespace().next() == Some(word)))
    }
}

#[test]
fn commands_and_flags_that_are_named_exist() {
    let (mut help, mut wrongs, mut seen) = (Help::default(), Vec::new(), 0);
    for (path, text) in documents() {
        let (prose, code) = split_fences(&text);
        let inline = inline_code(&prose);
        for line in inline.iter().chain(&code) {
            let mut words = line.split_whitespace().map(str::to_owned).peekable();
            while words.next_if(|word| word.contains('=') && !word.starts_with('-')).is_some() {}
            if words.next().is_none_or(|word| word.rsplit('/').next() != Some("fanfare")) {
                continue;
            }
            let mut command = Vec::new();
            for word in words.take_while(|word| !["|", "<", ">", "#", "&&", "&", "…"].contains(&word.as_str())) {
                if let Some(flag) = word.strip_prefix("--") {
                    let flag = format!("--{}", flag.split('=').next().expect("a name"));
                    let known = help.of(&command).split_whitespace().any(|it| it.trim_end_matches(',') == flag);
                    if !known && flag.len() > 2 {
                        wrongs.push(format!("{}: `{line}`: there is no {flag}", shown(&path)));
                    }
                } else if help.has_command(&command, &word) {
                    command.push(word);
                    seen += 1;
                } else if command.is_empty() && word.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()) {
                    wrongs.push(format!("{}: `{line}`: there is no such command", shown(&path)));
                    break;
                }
            }
        }
    }
    assert!(seen > 20, "the commands are found");
    none(wrongs);
}

#[test]
fn files_and_targets_that_are_named_exist() {
    let makefile = read(root().join("Makefile"));
    let mut wrongs = Vec::new();
    for (path, text) in documents() {
        let (prose, code) = split_fences(&text);
        for line in inline_code(&prose).iter().chain(&code) {
            for word in line.split(|c: char| c.is_whitespace() || ['(', ')', '"', '\'', ','].contains(&c)) {
                let word = word.trim_end_matches(['.', ':', ';']);
                let ours =
                    ["scripts/", "deploy/", "loadtest/", "config/", "tests/it/"].iter().any(|it| word.starts_with(it));
                // What is made by following the text, and patterns, are not there yet.
                let made = word.ends_with("/.env") || word.contains(['*', '<', '…', '$', '{']);
                if ours && !made && !root().join(word).exists() && !root().join(format!("{word}.rs")).exists() {
                    wrongs.push(format!("{}: {word} is not there", shown(&path)));
                }
            }
            if let Some(rest) = line.trim().strip_prefix("make ") {
                let target: String = rest.chars().take_while(|c| *c == '-' || c.is_ascii_lowercase()).collect();
                if !target.is_empty() && !makefile.contains(&format!("\n{target}:")) {
                    wrongs.push(format!("{}: `{line}`: there is no such target", shown(&path)));
                }
            }
        }
    }
    none(wrongs);
}

#[test]
fn every_threat_names_a_test_that_exists() {
    let security = read(root().join("docs/SECURITY.md"));
    let table = security.split("| threat | answer | where | shown by |").nth(1).expect("the table of threats");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20);
    let mut wrongs = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let tests = inline_code(cells.last().expect("a cell"));
        if tests.is_empty() {
            wrongs.push(format!("{}: shown by nothing", cells[0]));
        }
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap_or((&test, ""));
            let path = if file.starts_with("src/") { file.to_owned() } else { format!("tests/it/{file}.rs") };
            let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
            if name.is_empty() || !text.contains(&format!("fn {name}()")) {
                wrongs.push(format!("{}: there is no test {test}", cells[0]));
            }
        }
        for place in inline_code(cells[2]) {
            if !root().join("src").join(&place).exists() && !root().join(&place).exists() {
                wrongs.push(format!("{}: there is no src/{place}", cells[0]));
            }
        }
    }
    none(wrongs);
}

#[test]
fn every_exception_of_the_audit_has_a_reason() {
    let deny = read(root().join("deny.toml"));
    let exceptions = deny.lines().filter(|line| line.contains("id = \"RUSTSEC-") && !line.starts_with('#'));
    let exceptions: Vec<&str> = exceptions.collect();
    for exception in &exceptions {
        let reason = exception.split("reason = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        assert!(reason.len() > 30 && reason.contains("ends with"), "says neither why nor until when: {exception}");
    }
    // What the other tool leaves out is what this one does, and nothing more.
    let audit = read(root().join(".cargo/audit.toml"));
    for exception in exceptions {
        let id = exception.split('"').nth(1).expect("an id");
        assert!(audit.contains(id), "{id} is not in .cargo/audit.toml");
    }
    assert_eq!(audit.matches("\"RUSTSEC-").count(), deny.matches("{ id = \"RUSTSEC-2").count());
}

#[test]
fn the_worked_example_is_the_one_that_is_tested() {
    let (guide, code) = (read(root().join("docs/ADDING-A-FEED.md")), read(root().join("tests/it/example_feed.rs")));
    let parts: Vec<&str> = code.split("// [the ").skip(1).collect();
    assert_eq!(parts.len(), 4);
    for part in parts {
        let (name, text) = part.split_once("]\n").expect("a name");
        let text = text.split("// [end]").next().expect("an end").trim();
        assert!(guide.contains(&format!("<!-- the {name} -->\n\n```rust\n{text}\n```")), "the {name} differs");
    }
}
