//! Promises to the users of mysql-operator, and the laboratory (`cargo lab`) that shows them.
//!
//! The only place where the operator and the harness meet. The promises are in `tests/all/`, a file an
//! area; what they share is here.
//!
//! | module | its one job |
//! |---|---|
//! | [`deploy`] | the manifests of `deploy/`, as users apply them |
//! | [`floor`] | the same work by hand, without Kubernetes, to compare with |
//! | [`helper_pod`] | a pod that looks into a volume, or damages it |
//! | [`images`] | the operator's image, made from the programs of this workspace |
//! | [`invariants`] | what must be true at every moment of every scenario |
//! | [`k3s_image`] | the simulated cluster as a container image with k3s's outer face |
//! | [`instance`] | what an instance says of itself, as things to wait for |
//! | [`lab`] | the verbs of a scenario: create an instance, speak SQL to it, delete it |
//! | [`report`] | what running scenario files leaves |
//! | [`subject`] | the operator as scenario files see it |
//! | [`verification`] | the homework's verification, step by step |
//! | [`requests`] | what a client asks of the API, as permissions |
//! | [`shell`] | a command inside a pod |
//! | [`watching`] | waiting for a set of objects |
//! | [`progress`] | what a person sees while steps run |

pub mod deploy;
pub mod floor;
pub mod helper_pod;
pub mod images;
pub mod instance;
pub mod invariants;
pub mod k3s_image;
pub mod lab;
pub mod progress;
pub mod report;
pub mod requests;
pub mod shell;
pub mod subject;
pub mod verification;
pub mod watching;

pub use lab::{Lab, prove, prove_deployed, prove_with};
