//! The simulated machine: volatile caches, torn sectors, boot model, power cuts.
