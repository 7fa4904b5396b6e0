//! Containers of media: nothing of any protocol.

pub mod flv;
