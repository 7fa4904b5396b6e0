//! Servers and members of groups on a virtual network.

pub mod account;
#[cfg(feature = "tokio")]
pub mod caller;
pub mod crew;
pub mod forger;
pub mod house;
pub mod meeting;
pub mod net;
pub mod networks;
pub mod objects;
pub mod player;
pub mod publisher;
pub mod recording;
pub mod replay;
pub mod same;
pub mod script;
pub mod stand;
pub mod studio;
pub mod trader;
pub mod world;

#[path = "../../support/quick.rs"]
mod quick;
#[path = "../../support/seeds.rs"]
mod seeds;
#[path = "../../support/startup.rs"]
mod startup;
#[path = "../../support/time.rs"]
mod time;

pub use quick::quick;
pub use seeds::for_seeds;
pub use startup::startup;
pub use time::{millis, secs};
