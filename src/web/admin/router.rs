//! The paths.

use super::shared::{NoServer, Shared, Stage};
use super::{api, events, metrics};
use crate::web::asset::{self, asset};
use crate::web::guard::{Guard, guard};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

const PAGE: &str = include_str!("../assets/admin.html");
const STYLE: &str = include_str!("../assets/admin.css");
const RING: &str = include_str!("../assets/ring.js");
const SCRIPT: &str = include_str!("../assets/admin.js");
const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn router(shared: Arc<Shared>, own: Guard) -> Router {
    Router::new()
        .route("/", asset(asset::HTML, PAGE))
        .route("/common.css", asset(asset::CSS, asset::COMMON_STYLE))
        .route("/admin.css", asset(asset::CSS, STYLE))
        .route("/common.js", asset(asset::SCRIPT, asset::COMMON_SCRIPT))
        .route("/ring.js", asset(asset::SCRIPT, RING))
        .route("/admin.js", asset(asset::SCRIPT, SCRIPT))
        .route("/icon.svg", asset(asset::SVG, asset::ICON))
        .route("/api/v1/openapi.json", asset(asset::JSON, OPENAPI))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/sessions", get(api::sessions))
        .route("/api/v1/applications", get(api::applications))
        .route("/api/v1/groups", get(api::groups))
        .route("/api/v1/groups/{id}", get(api::group))
        .route("/api/v1/introductions", get(api::introductions))
        .route("/api/v1/events", get(events::events))
        .route("/healthz", get(|| async { "The process runs.\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .fallback(|| async { (StatusCode::NOT_FOUND, "There is no such page here.\n") })
        .layer(from_fn_with_state(own, guard))
        .with_state(shared)
}

/// Whether clients can connect.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let (status, text) = match shared.stage() {
        Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "The server starts.\n"),
        Stage::Ready => (StatusCode::OK, "Clients can connect.\n"),
        Stage::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "The server stops.\n"),
    };
    (status, text).into_response()
}

async fn prometheus(State(shared): State<Arc<Shared>>) -> Result<Response, NoServer> {
    let server = shared.server()?;
    let (stats, load) = (server.stats().await?, server.load().await?);
    let text = metrics::text(&stats, load);
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}
