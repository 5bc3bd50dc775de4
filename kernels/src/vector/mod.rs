//! Element-wise f32 work, written once over [`pulp`] for every vector width.
