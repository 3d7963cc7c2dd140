//! Promises to the users of mysql-operator, proved on clusters of the harness.
