//! One request from its head to its answer: host, route, rights, body, deed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Body as HttpBody;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Uri};
use serde_json::{Map, Value};

use super::auth::{self, Failures};
use super::etag::Conditions;
use super::problem::Problem;
use super::route::{self, Body, Request, Route, RouteError};
use super::{
    Context, Response, ServerSettings, adopt, body, cameras, config, discovery, events, export,
    health, hosts, import, openapi, ptz, recorder, scan, sse, system, tokens, webhooks,
};
use crate::site::Scope;

/// What stands between the network and the deeds: settings and the memory of bad tokens.
#[derive(Debug)]
pub struct Gate {
    settings: Mutex<Arc<ServerSettings>>,
    failures: Failures,
    /// When somebody with a token was last let in.
    admitted: Mutex<Option<Instant>>,
}

impl Gate {
    pub fn new(settings: ServerSettings) -> Self {
        Self {
            settings: Mutex::new(Arc::new(settings)),
            failures: Failures::default(),
            admitted: Mutex::default(),
        }
    }

    /// When somebody with a token was last let in.
    pub fn admitted(&self) -> Option<Instant> {
        *self.admitted.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Those in force for a request that begins now.
    pub fn settings(&self) -> Arc<ServerSettings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Takes effect with the next request.
    pub fn apply(&self, settings: ServerSettings) {
        *self.settings.lock().unwrap_or_else(|e| e.into_inner()) = Arc::new(settings);
    }

    /// The route of a request whose caller may take it.
    ///
    /// # Errors
    /// Whatever is wrong with host, path, method, query or token.
    fn admit(
        &self,
        peer: SocketAddr,
        head: &Parts,
        scope_of: impl Fn(&str) -> Option<Scope>,
    ) -> Result<(&'static Route, Request), Problem> {
        let settings = self.settings();
        hosts::check(
            &head.uri,
            head.version,
            &head.headers,
            &settings.hostname,
            &settings.allowed_hosts,
        )?;
        let query = head.uri.query().unwrap_or_default();
        let (route, request) = route::route(&head.method, head.uri.path(), query)
            .map_err(|error| route_problem(error, &head.method, &head.uri))?;
        let needed = match request {
            Request::Metrics if settings.metrics_public => None,
            Request::Export(options) if options.secrets => Some(Scope::Admin),
            _ => route.scope,
        };
        if let Some(needed) = needed {
            let has = auth::scope(
                peer,
                &head.headers,
                settings.loopback_scope,
                &self.failures,
                scope_of,
                Instant::now(),
            )?;
            if has < needed {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "scope_too_small",
                    format!(
                        "this needs a token of scope {}, not {}",
                        name(needed),
                        name(has)
                    ),
                ));
            }
        }
        if needed.is_some() {
            *self.admitted.lock().unwrap_or_else(|e| e.into_inner()) = Some(Instant::now());
        }
        Ok((route, request))
    }
}

/// One request, taken apart and admitted.
#[derive(Debug)]
pub struct Call {
    pub request: Request,
    pub conditions: Conditions,
    /// Where a reader of server-sent events left off.
    pub last_event_id: Option<String>,
    /// Parsed; an empty object where there is none.
    pub body: Value,
    /// The body of a [`Body::Raw`] route, with the head that tells its type.
    pub upload: Option<(HeaderMap, Bytes)>,
}

/// Answers one request of the API.
pub async fn answer<B>(
    context: &Arc<Context>,
    peer: SocketAddr,
    request: hyper::Request<B>,
) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if webhooks::is_for(request.uri().path()) {
        return Box::pin(webhooks::answer(context, peer, request)).await;
    }
    let site = &context.site;
    front(
        &context.gate,
        peer,
        request,
        |token| site.scope_of(token),
        |call| act(context, call),
    )
    .await
}

/// Everything around the deed itself: `act` runs for an admitted request with a readable body.
async fn front<B, A, F>(
    gate: &Gate,
    peer: SocketAddr,
    request: hyper::Request<B>,
    scope_of: impl Fn(&str) -> Option<Scope>,
    act: A,
) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
    A: FnOnce(Call) -> F,
    F: Future<Output = Result<Response, Problem>>,
{
    let (head, http_body) = request.into_parts();
    let result = async {
        let (route, request) = gate.admit(peer, &head, scope_of)?;
        let bytes_max = gate.settings().body_bytes_max;
        let (body, upload) = match route.body {
            Body::Raw => {
                let bytes = body::read(http_body, bytes_max).await?;
                (Value::Null, Some((head.headers.clone(), bytes)))
            }
            kind => {
                let body = read_body(kind, &head.headers, http_body, bytes_max).await?;
                (body, None)
            }
        };
        let call = Call {
            request,
            conditions: Conditions::of(&head.headers),
            last_event_id: sse::last_event_id(&head.headers),
            body,
            upload,
        };
        let limit = Duration::from_secs(route.answer_s_max.into());
        tokio::time::timeout(limit, act(call))
            .await
            .unwrap_or_else(|_| {
                let seconds = route.answer_s_max;
                Err(Problem::unavailable(
                    "timeout",
                    format!("no answer within {seconds} s"),
                ))
            })
    };
    let mut response = result.await.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn read_body<B>(
    kind: Body,
    headers: &HeaderMap,
    http_body: B,
    bytes_max: usize,
) -> Result<Value, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if kind == Body::None {
        return Ok(Value::Object(Map::new()));
    }
    let value = body::json(headers, &body::read(http_body, bytes_max).await?)?;
    if kind == Body::Empty {
        let fields = super::strict::Fields::new(body::object(&value)?);
        let errors = fields.finish();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
    }
    Ok(value)
}

fn route_problem(error: RouteError, method: &Method, uri: &Uri) -> Problem {
    let path: String = uri.path().chars().take(100).collect();
    match error {
        RouteError::NotFound => {
            Problem::not_found("unknown_path", format!("there is nothing at {path}"))
        }
        RouteError::NoSuchId(id) => {
            let id: String = id.chars().take(40).collect();
            Problem::not_found("unknown_camera", format!("there is no camera {id}"))
        }
        RouteError::MethodNotAllowed(allow) => Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{path} does not take {method}, only {allow}"),
        )
        .header(header::ALLOW, &allow),
        RouteError::BadQuery(errors) => Problem::invalid(errors),
    }
}

/// Does what was asked.
pub(super) async fn act(context: &Arc<Context>, call: Call) -> Result<Response, Problem> {
    let Call {
        request,
        conditions,
        last_event_id,
        body,
        upload,
    } = call;
    let is_alive = matches!(
        request,
        Request::Healthz | Request::Readyz | Request::OpenApi | Request::Metrics | Request::Version
    );
    if !is_alive && !context.site.is_ready() {
        return Err(Problem::unavailable("starting", "the gateway is starting"));
    }
    match request {
        Request::Healthz => Ok(system::healthz()),
        Request::Readyz => system::readyz(context),
        Request::OpenApi => Ok(openapi::serve()),
        Request::Metrics => Ok(system::metrics(context)),
        Request::Version => Ok(system::version()),
        Request::ListCameras(filter) => cameras::list(context, &filter),
        Request::CreateCamera { wait } => cameras::create(context, &body, wait).await,
        Request::Adopt => adopt::adopt(context, &body).await,
        Request::Import(options) => {
            let (headers, bytes) = upload.unwrap_or_default();
            import::import(context.clone(), headers, bytes, options).await
        }
        Request::Export(options) => export::export(context, options),
        Request::GetCamera(id) => cameras::get(context, id, &conditions),
        Request::PutCamera(id) => cameras::put(context, id, &conditions, &body).await,
        Request::PatchCamera(id) => cameras::patch(context, id, &conditions, &body).await,
        Request::DeleteCamera(id) => cameras::delete(context, id, &conditions).await,
        Request::Snapshot(id) => cameras::snapshot(context, id).await,
        Request::Ptz(id) => ptz::show(context, id).await,
        Request::OrderPtz(id) => ptz::order(context, id, &body).await,
        Request::Channels(id) => recorder::channels(context, id).await,
        Request::ImportChannels(id) => recorder::import(context, id, &body).await,
        Request::AutoDetect => discovery::auto_detect(context, &body).await,
        Request::BatchTest => discovery::batch_test(context, &body).await,
        Request::Probe => discovery::probe(context, &body).await,
        Request::Manufacturers => discovery::manufacturers(context),
        Request::StreamTemplates(maker) => discovery::stream_templates(context, &maker),
        Request::GenerateUrls => discovery::generate_urls(context, &body),
        Request::HealthStatus => health::status(context),
        Request::HealthCameras => health::cameras(context),
        Request::HealthCamera(id, window) => health::camera(context, id, window).await,
        Request::Reconnection(id) => health::reconnection(context, id),
        Request::CheckNow(id) => health::check_now(context, id).await,
        Request::Reconnect(id) => health::reconnect(context, id),
        Request::Events(filter) => events::list(context, filter).await,
        Request::NetworkInfo => scan::network_info(context),
        Request::StartScan => scan::start(context, &body),
        Request::ScanStatus => scan::status(context),
        Request::ScanEvents => Ok(scan::events(context, last_event_id)),
        Request::StopScan => scan::stop(context),
        Request::UsbCameras => scan::usb(context).await,
        Request::SeenDevices(page) => scan::devices(context, page),
        Request::DiscoverOnvif => scan::discover(context, &body).await,
        Request::ShowConfig => config::show(context).await,
        Request::ChangeConfig => config::change(context, &body).await,
        Request::ReloadConfig => config::reload(context).await,
        Request::MakeWebhookKey(id) => webhooks::make_key(context, id).await,
        Request::DropWebhookKey(id) => webhooks::drop_key(context, id).await,
        Request::CameraEvents(id, filter) => webhooks::of_camera(context, id, filter).await,
        Request::ListTokens => tokens::list(context),
        Request::CreateToken => tokens::create(context, &body).await,
        Request::RevokeToken(id) => tokens::revoke(context, id).await,
    }
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Operate => "operate",
        Scope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests;
