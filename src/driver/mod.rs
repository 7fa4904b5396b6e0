//! Sockets, timers and tasks under a sans-IO machine.
