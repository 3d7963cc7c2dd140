//! What each built-in Kubernetes kind has beyond its schema: defaults, validation, immutability, table columns.
