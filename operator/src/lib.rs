//! An operator that runs MySQL from a custom resource and never loses a row.
