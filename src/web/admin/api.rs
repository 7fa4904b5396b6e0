//! `/api/v1`: the state as JSON, in parts.

use super::answer::{Application, Group, Introduction, List, Members, Session, Status};
use super::shared::{NoServer, Shared};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::server::{MAX_REMEMBERED, Part, Server};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Entries of a list if a request does not say how many, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
const _: () = assert!(MAX_LIMIT <= MAX_REMEMBERED);

/// What a request says of the part that it wants.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    limit: Option<usize>,
    after: Option<String>,
}

/// A request that is not served.
pub(super) enum Refusal {
    NoServer,
    Bad(&'static str),
    NotFound(&'static str),
}

impl<E: Into<NoServer>> From<E> for Refusal {
    fn from(_: E) -> Self {
        Self::NoServer
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoServer => NoServer.into_response(),
            Self::Bad(text) => (StatusCode::BAD_REQUEST, text).into_response(),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, text).into_response(),
        }
    }
}

type Answer<T> = Result<Json<T>, Refusal>;

impl Wanted {
    fn limit(&self) -> Result<usize, Refusal> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            _ => Err(Refusal::Bad("limit= is a number from 1 to 1000.\n")),
        }
    }

    /// The part, with keys that `read` reads.
    fn part<K>(&self, read: impl Fn(&str) -> Option<K>) -> Result<Part<K>, Refusal> {
        let after = self.after.as_deref().map(|text| {
            let bad = Refusal::Bad("after= is the `next` of the part before.\n");
            read(text).ok_or(bad)
        });
        Ok(Part { after: after.transpose()?, limit: self.limit()? })
    }
}

fn peer(text: &str) -> Option<Fingerprint> {
    text.parse().ok()
}

/// A group ID has the form of a peer ID.
fn group_id(text: &str) -> Option<GroupId> {
    peer(text).map(|Fingerprint(bytes)| GroupId(bytes))
}

/// A part of a list whose keys are `key`.
fn list<T, A: Serialize>(
    listing: crate::server::Listing<T>,
    key: impl Fn(&T) -> String,
    shown: impl Fn(T) -> A,
) -> Json<List<A>> {
    let next = listing.entries.last().filter(|_| listing.has_more).map(key);
    Json(List::of(listing.entries.into_iter().map(shown).collect(), next))
}

pub(super) async fn status_of(server: &Server) -> Result<Status, NoServer> {
    let (stats, load) = (server.stats().await?, server.load().await?);
    Ok(Status::of(server, &stats, load))
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, NoServer> {
    Ok(Json(status_of(&shared.server()?).await?))
}

pub(super) async fn sessions(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Answer<List<Session>> {
    let (part, _turn) = (wanted.part(peer)?, shared.turn().await);
    let listing = shared.server()?.clients(part).await?;
    Ok(list(listing, |client| client.peer.to_string(), Session::from))
}

pub(super) async fn applications(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Answer<List<Application>> {
    let (part, _turn) = (wanted.part(|text| Some(text.into()))?, shared.turn().await);
    let server = shared.server()?;
    let mut streams: HashMap<Arc<str>, usize> = HashMap::new();
    for stream in server.streams().await? {
        *streams.entry(stream.app).or_default() += 1;
    }
    let listing = server.applications(part).await?;
    Ok(list(listing, |it| it.name.to_string(), |it| Application::of(it, &streams)))
}

pub(super) async fn groups(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Answer<List<Group>> {
    let (part, _turn) = (wanted.part(group_id)?, shared.turn().await);
    let listing = shared.server()?.groups(part).await?;
    Ok(list(listing, |it| it.group.to_string(), Group::from))
}

pub(super) async fn group(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer<Members> {
    let id = group_id(&id).ok_or(Refusal::Bad("A group ID has 64 hexadecimal digits.\n"))?;
    let (part, _turn) = (wanted.part(peer)?, shared.turn().await);
    let state = shared.server()?.group(id, part).await?;
    let state = state.ok_or(Refusal::NotFound("The group has no members here.\n"))?;
    Ok(Json(Members::of(id.to_string(), state)))
}

pub(super) async fn introductions(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Answer<List<Introduction>> {
    let (limit, _turn) = (wanted.limit()?, shared.turn().await);
    let newest = shared.server()?.introductions(limit).await?;
    Ok(Json(List::of(newest.into_iter().map(Introduction::from).collect(), None)))
}
