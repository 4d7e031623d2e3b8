//! The machine seam: blocking, object-safe traits and the contract tests every implementation passes.
