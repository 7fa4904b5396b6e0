//! Pages in the browser. They show and ask for what the modules below do, and decide nothing.
//!
//! | part | subject |
//! | --- | --- |
//! | [`watch`] | a film that is played while it is fetched |
//!
//! What a browser loads is in `assets/`, as it is, and compiled into the program: a page needs no
//! other host and no build.

pub mod watch;
