//! The pure half of the admission plug-ins that every cluster runs. Whoever calls them finds the
//! objects they need; nothing is looked up here.
//!
//! A refusal is a text: the server wraps it as `pods "x" is forbidden: …`.

mod limit_ranges;
mod pods;
mod quota;
mod storage;

pub use limit_ranges::{apply_limit_ranges, check_limit_ranges};
pub use pods::{default_tolerations, priority, service_account, service_account_name};
pub use quota::{Usage, exceeded_quota, more, quota_covers, usage};
pub use storage::{default_storage_class, protect_claim, protect_volume, refused_growth};
