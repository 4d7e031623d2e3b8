//! What each route does.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::sse::{Event as Sse, KeepAlive, Sse as Stream};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{ActBody, Action, Event, History, Schema};
use twinroot_ports::Outcome;

use super::answer::{bad, good};
use super::{BODY, Does, Look, Office, ROUTES, metrics};
use crate::daemon::{Answer, Ask, Picture};

/// How long a body may take to arrive: 4 KiB from the same machine need milliseconds.
const ARRIVES: Duration = Duration::from_secs(5);
/// How long a request is waited for. Staging takes minutes; who asked is told that it goes on, and
/// follows `/v1/events` or asks `/v1/status`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Under which name this connection's requests are written down; only connections of the control
/// socket have one.
#[derive(Debug, Clone)]
pub(super) struct By(pub(super) String);

/// The routes of a socket: all for control, those that look for read.
pub(super) fn router(office: Office, control: bool) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = match route.does {
            Does::Look(look) => router.route(
                route.path,
                get(move |State(office): State<Office>| async move { looked(&office, look).await }),
            ),
            Does::Act(action) if control => router.route(
                route.path,
                post(
                    move |State(office): State<Office>, request: Request<Body>| async move {
                        acted(&office, action, request).await.unwrap_or_else(bad)
                    },
                ),
            ),
            Does::Act(_) => router.route(route.path, post(elsewhere)),
        };
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(office)
}

/// The figures alone, for a collector on the loopback: what runs there need not be who may read the rest.
pub(super) fn figures(office: Office) -> Router {
    let look = |State(office): State<Office>| async move { looked(&office, Look::Metrics).await };
    Router::new()
        .route("/metrics", get(look))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(office)
}

async fn elsewhere() -> Response {
    let cause = "the read socket only answers";
    bad(Failure::new(Code::NotPermitted, "the request", cause)
        .with_remedy("ask on the control socket"))
}

async fn unknown() -> Response {
    let failure = Failure::new(Code::BadRequest, "the path", "there is nothing here")
        .with_remedy("see docs/openapi.json for what there is");
    (StatusCode::NOT_FOUND, bad(failure)).into_response()
}

async fn wrong_method() -> Response {
    let failure = Failure::new(Code::BadRequest, "the method", "this path has another")
        .with_remedy("use GET to look and POST to act");
    (StatusCode::METHOD_NOT_ALLOWED, bad(failure)).into_response()
}

async fn looked(office: &Office, look: Look) -> Response {
    match look {
        Look::Events => return events(office.desk.listen()),
        Look::Plan => return plan(office).await.unwrap_or_else(bad),
        Look::History => return history(office).await.unwrap_or_else(bad),
        Look::Status | Look::Why | Look::Health | Look::Metrics => {}
    }
    let Some(picture) = office.desk.picture() else {
        let failure = Failure::new(Code::NotNow, "the agent", "it is starting")
            .with_remedy("ask again in a moment");
        return (StatusCode::SERVICE_UNAVAILABLE, bad(failure)).into_response();
    };
    of_picture(look, &picture)
}

fn of_picture(look: Look, picture: &Picture) -> Response {
    match look {
        Look::Why => good(&picture.why),
        Look::Health => good(&picture.health),
        Look::Metrics => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics(picture)).into_response()
        }
        Look::Status | Look::Plan | Look::History | Look::Events => good(&picture.status),
    }
}

/// Reading the history may touch the disk, so it does not hold up other connections.
async fn history(office: &Office) -> Outcome<Response> {
    let archive = office.archive.clone();
    let read = tokio::task::spawn_blocking(move || archive.history()).await;
    let lines = read.map_err(|e| Failure::new(Code::Internal, "the history", e.to_string()))??;
    Ok(good(&History {
        schema: Schema,
        lines,
    }))
}

async fn plan(office: &Office) -> Outcome<Response> {
    let answered = office.desk.ask(Ask::Plan, String::from("a reader"))?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(answer)) => Ok(told(answer?)),
        Ok(Err(_)) => Err(ended()),
        Err(_) => Err(
            Failure::new(Code::NotNow, "the plan", "the agent is busy with an update")
                .with_remedy("ask again when /v1/status says that it is done"),
        ),
    }
}

/// Reads the body, puts the request into the loop's tray, and waits for its end, but not for ever.
async fn acted(office: &Office, action: Action, request: Request<Body>) -> Outcome<Response> {
    let By(by) = request.extensions().get().cloned().ok_or_else(|| {
        Failure::new(
            Code::NotPermitted,
            "the request",
            "nobody was admitted on it",
        )
    })?;
    let body = body_of(request).await?;
    let answered = office.desk.ask(Ask::Act(action, Box::new(body)), by)?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(answer)) => Ok(told(answer?)),
        Ok(Err(_)) => Err(ended()),
        Err(_) => {
            let picture = office.desk.picture().ok_or_else(ended)?;
            Ok((StatusCode::ACCEPTED, good(&picture.status)).into_response())
        }
    }
}

fn told(answer: Answer) -> Response {
    match answer {
        Answer::Status(status) => good(&*status),
        Answer::Plan(plan) => good(&*plan),
        Answer::Check(check) => good(&*check),
    }
}

fn ended() -> Failure {
    Failure::new(
        Code::NotNow,
        "the request",
        "the agent ended before it answered",
    )
    .with_remedy("ask again when it runs; what was under way goes on then")
}

/// An empty body means no keys.
async fn body_of(request: Request<Body>) -> Outcome<ActBody> {
    let refuse = |cause: String| Failure::new(Code::BadRequest, "the body", cause);
    let whole = axum::body::to_bytes(request.into_body(), BODY);
    let bytes = tokio::time::timeout(ARRIVES, whole)
        .await
        .map_err(|_| refuse(format!("it did not arrive within {} s", ARRIVES.as_secs())))?
        .map_err(|_| refuse(format!("it is cut off or has more than {BODY} bytes")))?;
    if bytes.is_empty() {
        return Ok(ActBody::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))
}

/// Events until the listener goes. One that is too slow misses some and is told how many.
fn events(listener: broadcast::Receiver<Event>) -> Response {
    let stream = futures_of(listener);
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Stream::new(stream).keep_alive(alive).into_response()
}

fn futures_of(
    listener: broadcast::Receiver<Event>,
) -> impl futures_util::Stream<Item = Result<Sse, Infallible>> {
    futures_util::stream::unfold(listener, |mut listener| async move {
        let sse = match listener.recv().await {
            Ok(event) => {
                let json = serde_json::to_string(&event).unwrap_or_default();
                Sse::default().data(json)
            }
            Err(RecvError::Lagged(missed)) => Sse::default().comment(format!("{missed} missed")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(sse), listener))
    })
}
