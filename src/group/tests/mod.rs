//! Groups against groups on virtual time, and groups against recorded players.

mod hostile;
mod membership;
mod net;
mod replay;
mod swarm;
mod trade;
