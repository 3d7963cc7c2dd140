//! What apt says it would download: packages with their versions, sizes and checksums.
//!
//! Pure: reading the answers of apt's programs.

/// One package to download.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) bytes: u64,
    /// As apt writes it: `SHA256:…`.
    pub(crate) checksum: String,
}

impl Package {
    /// How apt is asked for exactly this one.
    pub(crate) fn exact(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

/// Reads the lines `'URI' FILE SIZE CHECKSUM` of `apt-get --print-uris`; anything else is skipped.
pub(crate) fn parse_uris(text: &str) -> Vec<Package> {
    text.lines().filter_map(parse_uri).collect()
}

fn parse_uri(line: &str) -> Option<Package> {
    let (_, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split_whitespace();
    let file = words.next()?.strip_suffix(".deb")?;
    let bytes = words.next()?.parse().ok()?;
    let checksum = words.next().unwrap_or_default().to_owned();
    let mut parts = file.split('_');
    Some(Package {
        name: parts.next()?.to_owned(),
        version: decode(parts.next()?),
        bytes,
        checksum,
    })
}

/// Undoes `%3a`, which stands for the colon after an epoch.
fn decode(text: &str) -> String {
    text.replace("%3a", ":").replace("%3A", ":")
}

/// Of the names that a suite has, the one that a choice means.
pub(crate) fn choose(choice: &[&str], names: &[&str]) -> Option<String> {
    choice
        .iter()
        .find_map(|wanted| match wanted.strip_suffix('*') {
            None => names.contains(wanted).then(|| (*wanted).to_owned()),
            Some(prefix) => names
                .iter()
                .filter_map(|name| Some((numbers(name.strip_prefix(prefix)?)?, *name)))
                .max()
                .map(|(_, name)| name.to_owned()),
        })
}

/// `8.0` as numbers; nothing for what is not a version.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// The upstream part of a package's version: without epoch, Debian's revision and its marks.
pub(crate) fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version
        .rsplit_once('-')
        .map_or(version, |(upstream, _)| upstream);
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    version[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_and_noise_is_skipped() {
        let text = "Reading lists...\n\
            'http://mirror.test/pool/a/acl/libacl1_2.4.0-1_amd64.deb' libacl1_2.4.0-1_amd64.deb 37132 SHA256:ab\n\
            'http://mirror.test/pool/g/libgmp10_6.3.0.deb' libgmp10_2%3a6.3.0+dfsg-5+b2_amd64.deb 559860 SHA256:cd\n";
        let packages = parse_uris(text);
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].exact(), "libacl1=2.4.0-1");
        assert_eq!(packages[1].exact(), "libgmp10=2:6.3.0+dfsg-5+b2");
        assert_eq!(packages[1].bytes, 559_860);
        assert_eq!(packages[1].checksum, "SHA256:cd");
    }

    #[test]
    fn the_first_name_that_exists_is_chosen_and_of_versions_the_highest() {
        let choice = ["mysql-server-core", "mysql-server-core-*"];
        let names = [
            "mysql-server-core-5.7",
            "mysql-server-core-10.0",
            "mysql-server-core-8.0",
            "mysql-server-core-x",
        ];
        assert_eq!(
            choose(&choice, &names).as_deref(),
            Some("mysql-server-core-10.0")
        );
        assert_eq!(
            choose(&choice, &["mysql-server-core"]).as_deref(),
            Some("mysql-server-core")
        );
        assert_eq!(choose(&choice, &["mysql-server"]), None);
    }

    #[test]
    fn the_upstream_version_is_what_people_call_it() {
        for (package, version) in [
            ("9.7.4-2", "9.7.4"),
            ("1:10.11.14-0+deb12u2", "10.11.14"),
            ("1:1.35.0-4+b5", "1.35.0"),
            ("8.0.44-0ubuntu0.24.04.1", "8.0.44"),
            ("1:1.3.dfsg+really1.3.2-4", "1.3"),
        ] {
            assert_eq!(upstream(package), version, "{package}");
        }
    }
}
