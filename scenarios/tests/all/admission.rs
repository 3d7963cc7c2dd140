//! What the API server refuses, in words that tell the user what to change.

use harness::{Failure, proof::chain};
use rstest::rstest;
use scenarios::{deploy::CR, prove};

/// The whole text of a refusal.
fn refusal<T>(outcome: Result<T, harness::objects::ObjectError>) -> Result<String, Failure> {
    match outcome {
        Ok(_) => Err("the manifest was accepted".into()),
        Err(error) => Ok(chain(&error)),
    }
}

#[rstest]
#[case::image("image")]
#[case::database("database")]
#[case::password("password")]
#[case::storage_size("storage_size")]
fn a_missing_required_field_is_refused_by_name(#[case] field: &str) {
    let manifest: String = CR
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with(&format!("{field}:")))
        .collect();
    prove(async |lab| {
        let text = refusal(lab.cluster().apply(&manifest).await)?;
        assert!(
            text.contains(&format!("spec.{field}: Required value")),
            "{text}"
        );
        assert!(
            text.contains("The MySQL") || text.contains("is invalid"),
            "{text}"
        );
        Ok(())
    });
}

#[test]
fn a_wrong_type_is_refused_by_name() {
    let manifest = CR.replace("otuspassword", "12345");
    prove(async |lab| {
        let text = refusal(lab.cluster().apply(&manifest).await)?;
        assert!(text.contains("spec.password"), "{text}");
        // Server-side apply says it in these words; other writes say "must be of type string".
        assert!(text.contains("expected string"), "{text}");
        Ok(())
    });
}

#[test]
fn an_unknown_field_is_refused_by_a_strict_client() {
    let manifest = format!("{CR}\nusless_data: \"useless info\"\n");
    prove(async |lab| {
        let text = refusal(lab.cluster().apply(&manifest).await)?;
        assert!(text.contains("usless_data"), "{text}");
        Ok(())
    });
}
