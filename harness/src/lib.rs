//! Clusters for the tests of a Kubernetes operator, waiting on conditions, and evidence of what failed.
