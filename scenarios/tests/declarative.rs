//! Each folder of `declarative/` is a test, on the cluster that the environment selects.

use std::path::PathBuf;

use harness::scenario::{self, Options, Silent};
use rstest::rstest;
use scenarios::{images::Programs, lab, subject};

#[rstest]
fn holds(#[files("declarative/*/scenario.yaml")] file: PathBuf) {
    let loaded = scenario::load(&file).expect("a scenario");
    for loaded in &loaded {
        assert_eq!(scenario::lint::lint(loaded), Vec::<String>::new());
        for variant in 0..loaded.variants() {
            let options = Options {
                variant,
                ..Options::default()
            };
            harness::proof::prove_with(
                async || lab::image_store(Programs::Job).await,
                &lab::CARRIED,
                async |cluster| {
                    let run = subject::run(loaded, cluster, &mut Silent, &options).await?;
                    run.into_result().map(drop)
                },
            );
        }
    }
}

#[test]
fn the_published_schema_is_the_one_that_the_harness_reads_by() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario.schema.json");
    let published = std::fs::read_to_string(path).expect("the schema is published");
    let published: serde_json::Value = serde_json::from_str(&published).expect("JSON");
    assert!(
        published == scenario::schema(),
        "docs/scenario.schema.json is not up to date: cargo lab scenario schema > docs/scenario.schema.json"
    );
}
