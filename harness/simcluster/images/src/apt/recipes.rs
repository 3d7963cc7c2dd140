//! Which images can be assembled from packages, and of which packages: a table.
//!
//! Pure data and its look-up. A further image is a further [`Recipe`].

use crate::Reference;

/// How one product is assembled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// What it is called in `resolved` and in messages.
    pub(crate) product: &'static str,
    /// Repositories that mean this product, as people write them.
    pub(crate) repositories: &'static [&'static str],
    /// Where to look for the packages, in order.
    pub(crate) suites: &'static [Suite],
    /// The package that the product's version is taken from; the first that exists.
    pub(crate) program: Choice,
    /// Other packages to take with their dependencies; from each choice the first that exists.
    pub(crate) packages: &'static [&'static [Choice]],
    /// Packages to take without what they need, where the suite has them: for a program or two in them.
    pub(crate) alone: &'static [&'static str],
    /// Dependencies that are only for installing, or for scripts that nobody runs here: `*` stands for anything
    /// at the end, or at one place inside.
    pub(crate) leave_out: &'static [&'static str],
    /// What is done with the packages.
    pub(crate) kind: Kind,
}

/// Package names, of which the first that the suite has is taken. A trailing `*` stands for a version: the
/// highest is taken.
pub(crate) type Choice = &'static [&'static str];

/// A part of a distribution's archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The one this machine is installed from.
    Machine,
    /// One of another name in the archive of this machine, if the machine is of that distribution.
    Other {
        /// `ID` of os-release.
        distribution: &'static str,
        /// The suite's name.
        name: &'static str,
    },
}

/// What is done with the packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A database server: a small system, an entrypoint and a data directory that is initialised already.
    Database(Flavour),
    /// One static program that goes by many names.
    BusyBox,
    /// A registry of images.
    Registry,
}

/// The two families of servers that understand MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    MySql,
    MariaDb,
}

/// Debian's unstable suite has MySQL, which its stable releases do not have.
const DEBIAN_UNSTABLE: Suite = Suite::Other {
    distribution: "debian",
    name: "sid",
};

/// The system that an entrypoint script and people who look into a container need.
const SMALL_SYSTEM: &[Choice] = &[
    &["bash"],
    &["coreutils"],
    &["findutils"],
    &["grep"],
    &["gzip"],
    &["hostname"],
    &["libc-bin"],
    &["sed"],
    &["tar"],
    &["tzdata"],
    &["util-linux"],
];

/// What packages depend on only to be installed, configured or for their Perl scripts.
const FOR_INSTALLING: &[&str] = &[
    "adduser",
    "base-files",
    "base-passwd",
    "cdebconf",
    "debconf*",
    "dpkg",
    "gawk",
    "gcc-*",
    "init-system-helpers",
    "libc-gconv-modules-extra",
    "libdb5*",
    "libgdbm*",
    "libpam*",
    "libperl*",
    "lib*-perl",
    "login*",
    "lsb-base",
    "mariadb-common",
    "mawk",
    "mysql-common",
    "openssl-provider-legacy",
    "original-awk",
    "passwd",
    "perl*",
    "psmisc",
    "sysvinit-utils",
    "usr-is-merged",
    "usrmerge",
    "util-linux-extra",
];

/// All of them.
pub(crate) const RECIPES: &[Recipe] = &[
    Recipe {
        product: "mysql",
        repositories: &[
            "mysql",
            "amd64/mysql",
            "arm64v8/mysql",
            "mysql/mysql-server",
            "mysql/mysql-cluster",
        ],
        suites: &[Suite::Machine, DEBIAN_UNSTABLE],
        program: &["mysql-server-core", "mysql-server-core-*"],
        packages: &[
            SMALL_SYSTEM,
            &[&["mysql-client-core", "mysql-client-core-*"]],
        ],
        alone: &[],
        leave_out: FOR_INSTALLING,
        kind: Kind::Database(Flavour::MySql),
    },
    Recipe {
        product: "mariadb",
        repositories: &[
            "mariadb",
            "amd64/mariadb",
            "arm64v8/mariadb",
            "mariadb/server",
        ],
        suites: &[Suite::Machine, DEBIAN_UNSTABLE],
        program: &["mariadb-server-core", "mariadb-server-core-*"],
        packages: &[
            SMALL_SYSTEM,
            &[&["mariadb-client-core", "mariadb-client-core-*"]],
        ],
        // The first has the dump program, the second the time zone program.
        alone: &["mariadb-client", "mariadb-server"],
        leave_out: FOR_INSTALLING,
        kind: Kind::Database(Flavour::MariaDb),
    },
    Recipe {
        product: "busybox",
        repositories: &["busybox", "amd64/busybox", "arm64v8/busybox"],
        suites: &[Suite::Machine, DEBIAN_UNSTABLE],
        program: &["busybox-static"],
        packages: &[],
        alone: &[],
        leave_out: FOR_INSTALLING,
        kind: Kind::BusyBox,
    },
    Recipe {
        product: "registry",
        repositories: &["registry", "amd64/registry", "arm64v8/registry"],
        suites: &[Suite::Machine, DEBIAN_UNSTABLE],
        program: &["docker-registry"],
        packages: &[],
        alone: &[],
        leave_out: FOR_INSTALLING,
        kind: Kind::Registry,
    },
];

/// The recipe for an image, wherever a mirror keeps it.
pub(crate) fn find(reference: &Reference) -> Option<&'static Recipe> {
    let familiar = reference.familiar_name();
    // Mirrors of the default registry keep its name space as the end of theirs.
    let mirrored = reference
        .repository()
        .rsplit_once("library/")
        .map(|(_, name)| name);
    RECIPES.iter().find(|recipe| {
        recipe.repositories.contains(&familiar.as_str())
            || mirrored.is_some_and(|name| recipe.repositories.contains(&name))
    })
}

impl Recipe {
    /// Whether a package that others need is left out.
    pub(crate) fn leaves_out(&self, package: &str) -> bool {
        self.leave_out
            .iter()
            .any(|pattern| match pattern.split_once('*') {
                None => package == *pattern,
                Some((start, end)) => {
                    package.len() >= start.len() + end.len()
                        && package.starts_with(start)
                        && package.ends_with(end)
                }
            })
    }
}

/// What images there are, for an error text.
pub(crate) fn products() -> String {
    RECIPES
        .iter()
        .map(|recipe| recipe.product)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether a tag names this version: `9.7` and `9.7.4` and `9.7.4-debian` name 9.7.4; so does a tag without a version.
pub(crate) fn names_version(tag: &str, version: &str) -> bool {
    let asked = tag.split('-').next().unwrap_or(tag);
    if !asked.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    let mut have = version.split('.');
    asked.split('.').all(|part| have.next() == Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(text: &str) -> Option<&'static str> {
        find(&text.parse().expect(text)).map(|recipe| recipe.product)
    }

    #[test]
    fn every_spelling_of_mysql_finds_mysql() {
        for text in [
            "mysql",
            "mysql:5.7",
            "mysql:8.0.31",
            "arm64v8/mysql",
            "mysql/mysql-server:8.0",
            "docker.io/library/mysql:9",
            "mirror.example/docker/library/mysql:5.7",
        ] {
            assert_eq!(product(text), Some("mysql"), "{text}");
        }
        assert_eq!(product("mariadb:10.11"), Some("mariadb"));
        assert_eq!(product("busybox:1.36"), Some("busybox"));
        assert_eq!(product("registry:2"), Some("registry"));
    }

    #[test]
    fn what_merely_sounds_alike_is_not_taken() {
        for text in [
            "mysql-router",
            "somebody/mysql",
            "postgres",
            "registry.example/mysql",
        ] {
            assert_eq!(product(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_installing_needs_is_left_out() {
        let recipe = find(&"mysql".parse().expect("valid")).expect("known");
        for package in [
            "perl-base",
            "libdbi-perl",
            "gcc-12-base",
            "passwd",
            "libpam0g",
        ] {
            assert!(recipe.leaves_out(package), "{package}");
        }
        for package in ["libc6", "libgcc-s1", "libperl", "mysql-server-core"] {
            assert_eq!(
                recipe.leaves_out(package),
                package == "libperl",
                "{package}"
            );
        }
    }

    #[test]
    fn a_tag_names_the_versions_it_is_a_prefix_of() {
        for tag in ["9", "9.7", "9.7.4", "9.7.4-debian", "latest", "lts"] {
            assert!(names_version(tag, "9.7.4"), "{tag}");
        }
        for tag in ["5.7", "9.7.3", "9.70", "97", "9.7.4.1"] {
            assert!(!names_version(tag, "9.7.4"), "{tag}");
        }
    }
}
