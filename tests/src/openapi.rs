//! The OpenAPI document of the local API, made from the table of routes and the types on the wire.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};
use twinroot_agent::api::{Does, ROUTES, Route};
use twinroot_core::wire::{
    ActBody, CheckReport, ErrorAnswer, Event, HealthStatus, History, Plan, Status, Why,
};

/// The document, pretty-printed.
///
/// # Panics
/// Where a route names an answer that has no schema here.
#[must_use]
pub fn document() -> String {
    // OpenAPI 3.1 takes JSON Schema 2020-12 as it is.
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    named::<Status>(&mut generator);
    named::<Plan>(&mut generator);
    named::<Why>(&mut generator);
    named::<History>(&mut generator);
    named::<HealthStatus>(&mut generator);
    named::<CheckReport>(&mut generator);
    named::<ErrorAnswer>(&mut generator);
    named::<ActBody>(&mut generator);
    named::<Event>(&mut generator);
    let schemas = Value::Object(generator.take_definitions(true));
    let mut paths = serde_json::Map::new();
    for route in ROUTES {
        assert!(
            route.answer.is_empty() || schemas.get(route.answer).is_some(),
            "{} answers with {}, which has no schema",
            route.path,
            route.answer
        );
        paths.insert(route.path.to_owned(), operation(&route));
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "twinroot local API",
            "version": "1",
            "summary": "HTTP/1.1 on two Unix sockets: GET on both, POST on control.sock alone",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "http://localhost", "description": "over /run/twinroot/*.sock" }],
        "paths": paths,
        "components": { "schemas": schemas },
    });
    let mut text = serde_json::to_string_pretty(&document).expect("JSON values print");
    text.push('\n');
    text
}

fn named<T: JsonSchema>(generator: &mut SchemaGenerator) {
    // The definition is what counts; the reference to it is made by name.
    let _ = generator.subschema_for::<T>();
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn operation(route: &Route) -> Value {
    let (method, id) = match route.does {
        Does::Look(_) => ("get", format!("get{}", route.path.replace('/', "-"))),
        Does::Act(_) => ("post", format!("post{}", route.path.replace('/', "-"))),
    };
    let mut operation = json!({
        "operationId": id,
        "summary": route.summary,
        "responses": {
            "200": good(route),
            "default": {
                "description": "Refused or failed: what, why, and what a person can do",
                "content": { "application/json": { "schema": reference("ErrorAnswer") } },
            },
        },
    });
    if let Does::Act(action) = route.does {
        let keys = action.takes();
        let said = match keys.is_empty() {
            true => String::from("Takes no keys"),
            false => format!("Takes the keys {}", keys.join(", ")),
        };
        operation["description"] = Value::String(said);
        operation["requestBody"] = json!({
            "required": false,
            "content": { "application/json": { "schema": reference("ActBody") } },
        });
        operation["responses"]["202"] = json!({
            "description": "It goes on; follow /v1/events or ask /v1/status",
            "content": { "application/json": { "schema": reference("Status") } },
        });
    }
    json!({ method: operation })
}

fn good(route: &Route) -> Value {
    let content = match route.path {
        "/v1/events" => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        "/metrics" => json!({ "application/openmetrics-text": { "schema": { "type": "string" } } }),
        _ => json!({ "application/json": { "schema": reference(route.answer) } }),
    };
    json!({ "description": "Done", "content": content })
}
