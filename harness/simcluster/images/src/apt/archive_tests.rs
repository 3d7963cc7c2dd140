//! Sources lists as they are found on machines.

use super::*;

const DEBIAN: &str = "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\n";
const UBUNTU: &str = "ID=ubuntu\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n";

fn machine(release: &str, stanzas: Vec<Stanza>) -> Machine {
    Machine {
        distribution: parse_os_release(release).expect("a distribution"),
        stanzas,
    }
}

#[test]
fn both_formats_say_the_same() {
    let line = parse_line(
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.test/debian bookworm main contrib # ours",
    )
    .expect("a source");
    let block = parse_deb822(
        "# comment\nTypes: deb deb-src\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main contrib\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
    );
    assert_eq!(block, vec![line]);
}

#[test]
fn sources_of_code_and_disabled_ones_do_not_count() {
    assert_eq!(
        parse_line("deb-src http://mirror.test/debian sid main"),
        None
    );
    assert_eq!(parse_line("# deb http://mirror.test/debian sid main"), None);
    assert_eq!(
        parse_deb822("Types: deb\nEnabled: no\nURIs: http://mirror.test/\nSuites: sid\n"),
        vec![]
    );
}

#[test]
fn an_embedded_key_survives() {
    let text = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n \
                -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n";
    let stanzas = parse_deb822(text);
    let rendered = render(&stanzas);
    assert_eq!(parse_deb822(&rendered), stanzas, "{rendered}");
}

#[test]
fn the_distributions_archive_is_told_from_other_peoples() {
    let sources = [
        "deb [signed-by=/etc/apt/keyrings/vendor.gpg] https://vendor.test/linux/debian bookworm main",
        "deb http://mirror.test/debian bookworm main contrib",
        "deb http://mirror.test/debian bookworm-updates main",
        "deb http://mirror.test/debian-security bookworm-security main",
        "deb https://tools.test/apt cloud-bookworm main",
    ];
    let machine = machine(
        DEBIAN,
        sources.iter().filter_map(|line| parse_line(line)).collect(),
    );
    let places = |suite| -> Vec<String> {
        machine
            .stanzas_for(suite)
            .expect("the archive is there")
            .iter()
            .map(|stanza| {
                format!(
                    "{} {} {}",
                    stanza.uris[0],
                    stanza.suites[0],
                    stanza.components.join(",")
                )
            })
            .collect()
    };
    assert_eq!(
        places(Suite::Machine),
        [
            "http://mirror.test/debian bookworm main",
            "http://mirror.test/debian bookworm-updates main",
            "http://mirror.test/debian-security bookworm-security main",
        ]
    );
    let sid = Suite::Other {
        distribution: "debian",
        name: "sid",
    };
    assert_eq!(places(sid), ["http://mirror.test/debian sid main"]);
}

#[test]
fn another_distributions_suite_is_refused_with_its_reason() {
    let machine = machine(
        UBUNTU,
        vec![parse_line("deb http://mirror.test/ubuntu noble main restricted").expect("a source")],
    );
    let sid = Suite::Other {
        distribution: "debian",
        name: "sid",
    };
    let reason = machine.stanzas_for(sid).expect_err("not Debian");
    assert_eq!(
        reason,
        "sid is a suite of debian, and this machine is Ubuntu"
    );
    let own = machine.stanzas_for(Suite::Machine).expect("its own");
    assert_eq!(own[0].components, ["main", "universe"]);
}

#[test]
fn a_machine_without_an_archive_is_told_so() {
    let reason = machine(DEBIAN, vec![])
        .stanzas_for(Suite::Machine)
        .expect_err("nothing there");
    assert_eq!(
        reason,
        "no source in /etc/apt gives the component \"main\" of Debian bookworm"
    );
}

#[test]
fn debian_without_a_code_name_is_unstable() {
    let found = parse_os_release("ID=debian\nNAME=\"Debian GNU/Linux\"\n").expect("a distribution");
    assert_eq!(found.codename, "sid");
}
