//! ocelli.
