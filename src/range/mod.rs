//! Sets of indices kept as ranges.
