//! Programs in containers: what they see, how they end, why they do not start.

use crate::lab::Lab;

#[tokio::test]
async fn a_container_ends_with_its_programs_code_and_output() {
    let lab = Lab::with_pod().await;
    let (code, output) = lab
        .run(lab.shell("c", "echo out; echo err >&2; exit 42"))
        .await;
    assert_eq!((code, output.as_str()), (42, "out\nerr\n"));
}
