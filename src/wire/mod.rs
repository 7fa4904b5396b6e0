//! The RFC 7016 codec (§2).
