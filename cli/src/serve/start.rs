//! From the command line to a running server, and to its end.

use super::engine::Settings;
use super::guard::{self, Guard, Keys, Log};
use super::intake::Intake;
use super::metrics::Metrics;
#[cfg(feature = "index")]
use super::photos::{self, Photos};
use super::pictures::Pictures;
use super::registry::{Registry, named};
use super::service::{App, Queue, Service};
use super::upstream::Upstream;
use super::{Args, listen, problem::Problem, routes};
use crate::args::Resize;
use crate::console::{Console, Failure};
use crate::default_model;
use crate::label_args::open_bank;
use axum::http::{HeaderValue, Method, header};
use axum::middleware;
use axum::response::IntoResponse;
use ocelli::preprocess::decode::Limits;
use ocelli::{Error, Result, Runtime, knobs, printable};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

/// Threads that read and write requests. Decoding and encoding have their own.
const IO_THREADS: usize = 2;
/// Threads for opening models and finding addresses, beside those that decode.
const OTHER_THREADS: usize = 4;
/// How long a request's headers may take at most.
const HEADERS: Duration = Duration::from_secs(30);
/// Least time between two looks for idle models.
const TICK: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Args, quiet: bool, console: &Console) -> Result<ExitCode, Failure> {
    let log = Log { quiet, json: args.json };
    let (app, guard) = prepare(args, log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .max_blocking_threads(args.decoders + OTHER_THREADS)
        .enable_all()
        .build()
        .map_err(|source| Error::Io { action: "start the server's threads", source })?;
    let finished = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .map_err(|source| Error::Message(format!("cannot listen on {}: {source}", args.listen)))?;
        let stop = until_stopped()?;
        announce(args, &app, &listener, console)?;
        tokio::spawn(close_idle(Arc::clone(&app), args.idle_unload.map(Duration::from_secs)));
        let router = guarded(Arc::clone(&app), guard)?;
        let time = Duration::from_secs(args.timeout);
        let headers = HEADERS.min(time / 4);
        let limits = listen::Limits { connections: args.connections, headers, grace: time };
        Ok::<_, Failure>(listen::serve(listener, router, limits, stop, log).await)
    })?;
    log.event(if finished { "stopped" } else { "stopped; what did not end in time was broken off" });
    // What a thread still does for clients that have gone is of no interest.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Everything that can be wrong is found here, before the first client comes.
fn prepare(args: &Args, log: Log) -> Result<(App, Guard), Failure> {
    let options = knobs::runtime_options()?;
    let options = options.threads(args.threads.unwrap_or(options.threads));
    let metrics = Arc::new(Metrics::default());
    let settings = Settings {
        runtime: Runtime::new(&options)?,
        isa: options.isa,
        limits: knobs::limits()?,
        batch: args.batch,
        verify: knobs::verify()?,
        texts: NonZeroUsize::new(args.text_cache).unwrap_or(NonZeroUsize::MIN),
        metrics: Arc::clone(&metrics),
    };
    #[cfg(feature = "index")]
    let store = photos::open(args.index.as_ref())?;
    #[cfg(feature = "index")]
    let known = store.as_ref().and_then(|store| store.identity().model.clone());
    #[cfg(not(feature = "index"))]
    let known = None;
    let models = Registry::new(sources(args, known)?, &settings)?;
    #[cfg(feature = "index")]
    let photos = store.map(|store| Photos::new(store, &models, &settings.runtime)).transpose()?;
    let time = Duration::from_secs(args.timeout);
    // Its time ends before ours, so that there is an answer that says so.
    let upstream = args.upstream.as_deref().map(|url| Upstream::new(url, time * 3 / 4));
    let limits = knobs::max_pixels()?.map_or_else(Limits::default, Limits::new);
    let (most, fast) = (args.max_body * 1_000_000, args.resize == Resize::Fast);
    let bank = |argument| {
        let (name, path) = named(argument);
        open_bank(&path).map(|bank| (name, bank))
    };
    let app = Arc::new(Service {
        models,
        banks: args.bank.iter().map(|path| bank(path)).collect::<Result<_>>()?,
        intake: Intake::new(most, most.saturating_mul(4), time / 4),
        queue: Queue::new(args.queue),
        pictures: Pictures::new(args.decoders, args.batch, limits, fast, Arc::clone(&metrics)),
        upstream: upstream.transpose().map_err(Failure::Usage)?,
        #[cfg(feature = "index")]
        photos: photos.map(Arc::new),
        metrics: Arc::clone(&metrics),
        time,
    });
    let origin = |origin: &String| {
        let value =
            HeaderValue::from_str(origin).ok().filter(|_| origin.contains("://") && !origin.ends_with('/'));
        value.ok_or_else(|| {
            Failure::Usage(format!("--cors {origin}: not an origin, as in https://photos.example"))
        })
    };
    let guard = Guard {
        app: Arc::clone(&app),
        keys: Keys::read(args.api_key_file.as_deref())?,
        origins: args.cors.iter().map(origin).collect::<Result<_, _>>()?,
        log,
        metrics,
    };
    Ok((app, guard))
}

/// The models that `args` name, in their order; without any the one that is `known` from an index, or the default.
fn sources(args: &Args, known: Option<PathBuf>) -> Result<Vec<(String, PathBuf)>> {
    let mut sources: Vec<(String, PathBuf)> = args.model.iter().map(|argument| named(argument)).collect();
    if let Some(folder) = &args.models {
        let found = models_in(folder)?;
        // One that was named by itself is served under that name alone.
        let new =
            found.into_iter().filter(|path| !args.model.iter().any(|argument| named(argument).1 == *path));
        sources.extend(new.map(|path| (named(&path).0, path)));
    }
    if sources.is_empty() {
        let path = known.map_or_else(default_model::path, Ok)?;
        sources.push((named(&path).0, path));
    }
    Ok(sources)
}

/// The packed files in `folder`, sorted by name.
fn models_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::Io { action: "read the folder", source }.in_file(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "ocelli") {
            found.push(path);
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(Error::Message("there is no .ocelli file in it".into()).in_file(folder)),
        false => Ok(found),
    }
}

/// The routes behind the guard.
fn guarded(app: App, guard: Guard) -> Result<axum::Router, Failure> {
    let origins = guard.origins.clone();
    let broken = |_| Problem::broken("this request failed; the others are not concerned").into_response();
    let router = routes::router(app)
        .layer(CatchPanicLayer::custom(broken))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::watch));
    if origins.is_empty() {
        return Ok(router);
    }
    let cors =
        CorsLayer::new().allow_origin(origins).allow_methods([Method::GET, Method::POST]).allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            header::HeaderName::from_static("x-api-key"),
        ]);
    Ok(router.layer(cors))
}

/// Says where the server is, on stdout, and what it serves.
fn announce(args: &Args, app: &App, listener: &TcpListener, console: &Console) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    let names: Vec<&str> = app.models.all().iter().map(|entry| entry.name.as_str()).collect();
    let index = app.index().map(|folder| folder.display().to_string());
    if args.json {
        return console.print_json(&json!({
            "listening": url, "models": names, "index": index, "queue": args.queue, "connections": args.connections,
            "max_body": args.max_body * 1_000_000, "timeout_s": args.timeout,
        }));
    }
    console.tell(format_args!("models: {}", names.join(", ")));
    if let Some(index) = index {
        console.tell(format_args!("photos: those of the index {}", printable(&index)));
    }
    console.tell(format_args!(
        "limits: {} MB a request, {} requests waiting, {} connections, {} s",
        args.max_body, args.queue, args.connections, args.timeout
    ));
    if !address.ip().is_loopback() && args.api_key_file.is_none() {
        console.warn(format_args!("everybody who reaches {address} may ask: --api-key-file asks for a key"));
    }
    console.print(&format!("{}\n", printable(&url)))
}

/// Ends with SIGTERM or SIGINT.
fn until_stopped() -> Result<impl Future<Output = ()>> {
    let on = |kind| signal(kind).map_err(|source| Error::Io { action: "wait for signals", source });
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Closes models that were idle for `idle`, and all of them when SIGHUP comes.
async fn close_idle(app: App, idle: Option<Duration>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let tick = idle.map(|idle| (idle / 4).clamp(TICK, Duration::from_secs(60)));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                for entry in app.models.all() {
                    entry.close().await;
                }
            }
            () = tokio::time::sleep(tick.unwrap_or(Duration::MAX)) => {
                app.models.all().iter().for_each(|entry| entry.close_if_idle(idle.unwrap_or(Duration::MAX)));
            }
        }
    }
}
