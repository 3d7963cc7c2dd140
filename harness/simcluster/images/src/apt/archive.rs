//! Where this machine gets its packages from, read from its own configuration.
//!
//! Pure but for [`read`]. It never names a host itself: what the machine uses is what we use.

use std::{collections::BTreeMap, fs, path::Path};

use super::recipes::Suite;

/// One stanza of a sources list: types, places, suites and how to trust them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stanza {
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// Further fields that say how to reach or trust it, such as `Signed-By`.
    pub(crate) options: BTreeMap<String, String>,
}

/// The machine's distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// `debian`, `ubuntu`…
    pub(crate) id: String,
    /// `Debian`, `Ubuntu`…
    pub(crate) name: String,
    /// `bookworm`…
    pub(crate) codename: String,
}

/// What was found on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) distribution: Distribution,
    pub(crate) stanzas: Vec<Stanza>,
}

/// Options that are kept from the machine's stanzas, in deb822 spelling.
const KEPT_OPTIONS: [&str; 6] = [
    "Signed-By",
    "Trusted",
    "Allow-Insecure",
    "Allow-Weak",
    "Allow-Downgrade-To-Insecure",
    "By-Hash",
];

/// Reads the machine's distribution and sources; says what is missing otherwise.
pub(crate) fn read(root: &Path) -> Result<Machine, String> {
    let etc = root.join("etc");
    let release = fs::read_to_string(etc.join("os-release"))
        .or_else(|_| fs::read_to_string(root.join("usr/lib/os-release")))
        .map_err(|error| format!("/etc/os-release cannot be read ({error})"))?;
    let distribution = parse_os_release(&release)
        .ok_or("/etc/os-release names no distribution with a VERSION_CODENAME")?;
    let mut stanzas = Vec::new();
    let mut files = vec![etc.join("apt/sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("apt/sources.list.d")) {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => stanzas.extend(text.lines().filter_map(parse_line)),
            Some("sources") => stanzas.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    Ok(Machine {
        distribution,
        stanzas,
    })
}

impl Machine {
    /// The stanzas to use for a suite; or why there are none.
    pub(crate) fn stanzas_for(&self, suite: Suite) -> Result<Vec<Stanza>, String> {
        let main = self.main_archive().ok_or_else(|| {
            format!(
                "no source in /etc/apt gives the component \"main\" of {} {}",
                self.distribution.name, self.distribution.codename
            )
        })?;
        match suite {
            Suite::Machine => {
                let mut stanzas = vec![Stanza {
                    suites: vec![self.distribution.codename.clone()],
                    components: self.components(main),
                    ..main.clone()
                }];
                stanzas.extend(self.updates());
                Ok(stanzas)
            }
            Suite::Other { distribution, name } if distribution == self.distribution.id => {
                Ok(vec![Stanza {
                    suites: vec![name.to_owned()],
                    components: self.components(main),
                    ..main.clone()
                }])
            }
            Suite::Other { distribution, name } => Err(format!(
                "{name} is a suite of {distribution}, and this machine is {}",
                self.distribution.name
            )),
        }
    }

    /// The distribution's own archive among all that the machine uses.
    fn main_archive(&self) -> Option<&Stanza> {
        let codename = &self.distribution.codename;
        self.stanzas
            .iter()
            .filter(|stanza| {
                stanza
                    .components
                    .iter()
                    .any(|component| component == "main")
                    && stanza
                        .suites
                        .iter()
                        .any(|suite| suite == codename || is_alias(suite))
            })
            .max_by_key(|stanza| {
                (
                    self.likeness(stanza),
                    std::cmp::Reverse(self.position(stanza)),
                )
            })
    }

    /// Security and bug fixes for the suite the machine is installed from.
    fn updates(&self) -> impl Iterator<Item = Stanza> {
        let codename = &self.distribution.codename;
        let wanted = [
            format!("{codename}-updates"),
            format!("{codename}-security"),
        ];
        self.stanzas.iter().filter_map(move |stanza| {
            let suites: Vec<_> = stanza
                .suites
                .iter()
                .filter(|suite| wanted.contains(suite))
                .cloned()
                .collect();
            (!suites.is_empty()).then(|| Stanza {
                suites,
                components: self.components(stanza),
                ..stanza.clone()
            })
        })
    }

    /// How much a stanza looks like the distribution's own archive rather than somebody else's.
    fn likeness(&self, stanza: &Stanza) -> u8 {
        let id = &self.distribution.id;
        let signed = match stanza.options.get("Signed-By") {
            None => 1,
            Some(by) => 2 * u8::from(by.contains(&format!("{id}-archive"))),
        };
        let placed = stanza
            .uris
            .iter()
            .any(|uri| uri.trim_end_matches('/').ends_with(id.as_str()));
        signed * 2 + u8::from(placed)
    }

    fn position(&self, stanza: &Stanza) -> usize {
        self.stanzas
            .iter()
            .position(|other| std::ptr::eq(other, stanza))
            .unwrap_or_default()
    }

    /// Only what is free software and supported: `main`, and on Ubuntu what the community maintains.
    fn components(&self, stanza: &Stanza) -> Vec<String> {
        let wanted: &[&str] = match self.distribution.id.as_str() {
            "ubuntu" => &["main", "universe"],
            _ => &["main"],
        };
        let flat = stanza.components.is_empty();
        wanted
            .iter()
            .filter(|_| !flat)
            .map(|&component| component.to_owned())
            .collect()
    }
}

/// The stanzas as a deb822 file that fetches no more than package lists.
pub(crate) fn render(stanzas: &[Stanza]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for stanza in stanzas {
        let _ = write!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nTargets: Packages\n",
            stanza.uris.join(" "),
            stanza.suites.join(" "),
            stanza.components.join(" "),
        );
        for (name, value) in &stanza.options {
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
    }
    text
}

/// Names that archives give to a moving suite.
fn is_alias(suite: &str) -> bool {
    ["stable", "testing", "unstable"].contains(&suite)
}

fn parse_os_release(text: &str) -> Option<Distribution> {
    let fields: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches(['"', '\''])))
        .collect();
    // A derivative of Ubuntu takes its packages from there.
    if let Some(codename) = fields.get("UBUNTU_CODENAME") {
        return Some(Distribution {
            id: "ubuntu".to_owned(),
            name: "Ubuntu".to_owned(),
            codename: (*codename).to_owned(),
        });
    }
    let id = *fields.get("ID")?;
    let codename = match fields.get("VERSION_CODENAME") {
        Some(codename) => codename,
        None if id == "debian" => "sid",
        None => return None,
    };
    let mut name = id.to_owned();
    name[..1].make_ascii_uppercase();
    Some(Distribution {
        id: id.to_owned(),
        name,
        codename: codename.to_owned(),
    })
}

/// One line of the classic format: `deb [option=value …] uri suite component…`.
fn parse_line(line: &str) -> Option<Stanza> {
    let line = line.split('#').next()?.trim();
    let rest = line
        .strip_prefix("deb")
        .filter(|rest| rest.starts_with([' ', '\t', '[']))?
        .trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Stanza {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        options: options
            .split_whitespace()
            .filter_map(|option| option.split_once('='))
            .filter_map(|(name, value)| kept(name, value))
            .collect(),
    })
}

/// A file of the deb822 format: stanzas of `Field: value`, continued on indented lines.
fn parse_deb822(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            stanzas.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    stanzas
}

fn stanza(fields: &[(String, String)]) -> Option<Stanza> {
    let value = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    };
    let words = |wanted: &str| -> Vec<String> {
        value(wanted)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let off = value("Enabled")
        .is_some_and(|on| ["no", "false", "0"].contains(&on.to_lowercase().as_str()));
    if off || !words("Types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Stanza {
        uris: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
        options: fields
            .iter()
            .filter_map(|(name, value)| kept(name, value))
            .collect(),
    })
}

fn kept(name: &str, value: &str) -> Option<(String, String)> {
    KEPT_OPTIONS
        .iter()
        .find(|kept| kept.eq_ignore_ascii_case(name))
        .map(|kept| ((*kept).to_owned(), value.to_owned()))
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
