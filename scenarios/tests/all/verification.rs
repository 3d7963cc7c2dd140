//! The homework's verification, as a test.

use scenarios::{progress::Progress, prove, verification::verify};

#[test]
fn the_homeworks_verification_passes() {
    prove(async |lab| {
        let outcome = verify(lab, &Progress::silent()).await?;
        assert_eq!(outcome.before, [["1", "some data"], ["2", "some data-2"]]);
        assert_eq!(outcome.after, outcome.before);
        Ok(())
    });
}
