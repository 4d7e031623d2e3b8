//! Answers: JSON with the right status, for good news and bad.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use twinroot_core::error::{Category, Code, Failure};
use twinroot_core::wire::ErrorAnswer;

/// Good news.
pub(super) fn good<T: Serialize>(answer: &T) -> Response {
    Json(answer).into_response()
}

/// Bad news, as the command line says it with `--json`.
pub(super) fn bad(failure: Failure) -> Response {
    (status(&failure), Json(ErrorAnswer::from(failure))).into_response()
}

/// The HTTP status of a failure. Only a fault of this program is a server error: what the network,
/// the repository or the machine refuses is told as such.
fn status(failure: &Failure) -> StatusCode {
    match (failure.code, failure.category()) {
        (Code::NotPermitted, _) => StatusCode::FORBIDDEN,
        (Code::UnknownRelease, _) => StatusCode::NOT_FOUND,
        (Code::BadRequest | Code::NameRefused, _) => StatusCode::BAD_REQUEST,
        (Code::LockHeld, _) => StatusCode::TOO_MANY_REQUESTS,
        (_, Category::Trust | Category::Network) => StatusCode::FAILED_DEPENDENCY,
        (_, Category::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
        (
            _,
            Category::Input
            | Category::Configuration
            | Category::Environment
            | Category::Disk
            | Category::Boot
            | Category::Health,
        ) => StatusCode::CONFLICT,
    }
}
