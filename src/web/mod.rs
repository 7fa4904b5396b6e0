//! Pages in the browser. They show and ask for what the modules below do, and decide nothing.
//!
//! | part | subject |
//! | --- | --- |
//! | [`admin`] | the state of a server |
//! | [`watch`] | a film that is played while it is fetched |
//! | `asset` | what a browser loads as it is |
//! | `guard` | which requests are served, headers of all responses |
//! | `impatient` | connections that end if nobody reads |
//! | `url` | the URL of what is served |
//!
//! What a browser loads is in `assets/`, as it is, and compiled into the program: a page needs no
//! other host and no build.

pub mod admin;
mod asset;
mod guard;
mod impatient;
mod url;
pub mod watch;
