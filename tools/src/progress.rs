//! What long runs tell their caller.

/// Is told how a long run goes on. By default nothing happens.
pub trait Progress: Sync {
    /// A run of `total` steps begins; a step is one of `unit`, as in "images".
    fn begin(&self, unit: &str, total: u64) {
        _ = (unit, total);
    }
    /// What is being done now.
    fn describe(&self, what: &str) {
        _ = what;
    }
    /// So many steps are to be done besides.
    fn extend(&self, steps: u64) {
        _ = steps;
    }
    /// So many steps are done.
    fn advance(&self, steps: u64) {
        _ = steps;
    }
    /// The run is over.
    fn end(&self) {}
    /// Something went otherwise than the user may have meant.
    fn warn(&self, message: &str) {
        _ = message;
    }
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
