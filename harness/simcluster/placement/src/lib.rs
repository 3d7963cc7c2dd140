//! What a pod asks of a node, and whether the node has it: the same for who chooses a node and for the node itself. Pure.
//!
//! - [`amount`]: quantities to reckon with; [`resources`]: what a pod asks for, what a node gives
//! - [`selection`]: node selectors and affinity against a node's labels and name
//! - [`taints`]: which tolerations cover which taints; [`ports`]: the ports of a node that a pod takes
//!
//! It decides nothing: which of these count, in which order and in whose words a refusal is said, is the scheduler's
//! matter and the node's. It knows no other pods.

pub mod amount;
pub mod ports;
pub mod resources;
pub mod selection;
pub mod taints;
