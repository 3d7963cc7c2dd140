//! Promises to the users of mysql-operator, and the laboratory (`cargo lab`) that shows them.
//!
//! The only place where the operator and the harness meet. The promises are in `tests/all/`, a file an
//! area; what they share is here.
//!
//! | module | its one job |
//! |---|---|
//! | [`deploy`] | the manifests of `deploy/`, as users apply them |
//! | [`floor`] | the same work by hand, without Kubernetes, to compare with |
//! | [`images`] | the operator's image, made from the programs of this workspace |
//! | [`lab`] | the verbs of a scenario: create an instance, speak SQL to it, delete it |
//! | [`verification`] | the homework's verification, step by step |
//! | [`progress`] | what a person sees while steps run |

pub mod deploy;
pub mod floor;
pub mod images;
pub mod lab;
pub mod progress;
pub mod verification;

pub use lab::{Lab, prove};
