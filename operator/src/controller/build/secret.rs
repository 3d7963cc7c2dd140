//! The Secret with credentials and record.

use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::controller::validate::Validated;
use crate::ledger::Ledger;

pub(super) fn credentials(validated: &Validated, ledger: &Ledger) -> Secret {
    Secret {
        metadata: metadata(validated, validated.instance.secret(), "credentials"),
        type_: Some("Opaque".to_owned()),
        data: Some(ledger.to_data()),
        ..Secret::default()
    }
}
