//! What a browser loads as it is.

use axum::http::header;
use axum::routing::{MethodRouter, get};

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const SVG: &str = "image/svg+xml";
pub(super) const JSON: &str = "application/json";

/// What all pages have in common.
pub(super) const COMMON_STYLE: &str = include_str!("assets/common.css");
pub(super) const COMMON_SCRIPT: &str = include_str!("assets/common.js");
pub(super) const ICON: &str = include_str!("assets/icon.svg");

/// Serves a text of this media type.
pub(super) fn asset<S>(kind: &'static str, text: &'static str) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
}
