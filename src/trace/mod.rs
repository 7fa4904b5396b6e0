//! Packet captures in, decoded packets out.
