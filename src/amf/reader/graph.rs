//! Containers and references to them: sharing, cycles, and the bounds on both.

use std::sync::{Arc, Weak};

use super::{Reader, SHARED_MEMORY, VALUE_WEIGHT};
use crate::amf::{AmfError, Cycle, MAX_DEPTH, Value};

/// An entry of a table of objects.
pub(super) enum Slot {
    /// A container that is being read.
    Open(Cycle),
    /// A finished value.
    Closed {
        value: Value,
        /// Levels of containers in it, itself included.
        height: usize,
        /// Its expanded size.
        weight: u64,
    },
}

/// Which table a container goes to.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Amf0,
    Amf3,
}

impl Reader {
    fn table(&mut self, format: Format) -> &mut Vec<Slot> {
        match format {
            Format::Amf0 => &mut self.amf0,
            Format::Amf3 => &mut self.amf3.objects,
        }
    }

    /// Reads a container with `body`; meanwhile references to it are cycles.
    pub(super) fn container<T: Default>(
        &mut self,
        format: Format,
        cycle: fn(Weak<T>) -> Cycle,
        value: fn(Arc<T>) -> Value,
        body: impl FnOnce(&mut Self) -> Result<T, AmfError>,
    ) -> Result<Value, AmfError> {
        if self.depth >= MAX_DEPTH {
            return Err(AmfError::TooDeep { at: self.at });
        }
        self.spend(size_of::<T>() as u64 + size_of::<Slot>() as u64 + SHARED_MEMORY)?;
        self.depth += 1;
        let outer_peak = std::mem::replace(&mut self.peak, self.depth);
        let outer_expanded = self.expanded;
        let index = self.table(format).len();

        let mut failure = None;
        let shared = Arc::new_cyclic(|weak| {
            self.table(format).push(Slot::Open(cycle(weak.clone())));
            body(self).unwrap_or_else(|error| {
                failure = Some(error);
                T::default()
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }

        let value = value(shared);
        self.depth -= 1;
        let height = self.peak.saturating_sub(self.depth);
        self.peak = self.peak.max(outer_peak);
        let weight = VALUE_WEIGHT + self.expanded.saturating_sub(outer_expanded);
        if let Some(slot) = self.table(format).get_mut(index) {
            *slot = Slot::Closed { value: value.clone(), height, weight };
        }
        Ok(value)
    }

    /// Enters a value without values inside into the AMF3 table.
    pub(super) fn leaf(&mut self, value: Value, length: usize) -> Result<Value, AmfError> {
        self.weigh(length as u64)?;
        self.spend(length as u64 + 2 * size_of::<Slot>() as u64 + SHARED_MEMORY)?;
        let weight = VALUE_WEIGHT + length as u64;
        self.amf3.objects.push(Slot::Closed { value: value.clone(), height: 0, weight });
        Ok(value)
    }

    /// The value that a reference stands for, and its weight counted once more.
    pub(super) fn referred(
        &mut self,
        format: Format,
        index: usize,
        at: usize,
    ) -> Result<Value, AmfError> {
        let depth = self.depth;
        let table = self.table(format);
        let known = table.len();
        let (value, height, weight) = match table.get(index) {
            None => return Err(AmfError::BadReference { what: "object", index, known, at }),
            Some(Slot::Open(cycle)) => return Ok(Value::Cycle(cycle.clone())),
            Some(Slot::Closed { value, height, weight }) => (value.clone(), *height, *weight),
        };
        let reached = depth.saturating_add(height);
        if reached > MAX_DEPTH {
            return Err(AmfError::TooDeep { at });
        }
        self.peak = self.peak.max(reached);
        self.weigh(weight)?;
        Ok(value)
    }
}
