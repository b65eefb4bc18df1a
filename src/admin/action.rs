//! What a POST to the admin port changes: a table of paths, each with who carries it out.
//!
//! An action that began ends, whether or not its peer waits for the answer: a change that is made
//! by half is worse than one that nobody hears of. Bodies are small and read within a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::oneshot;

use super::Peer;
use super::door::Door;
use crate::tasks::Tasks;

/// What is to be changed is told in a few words, not in data.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A body that began must be complete in this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A change that `POST PATH` asks for.
#[derive(Clone)]
pub struct Action {
    path: &'static str,
    run: Arc<dyn Fn(Asked) -> Work + Send + Sync>,
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What the request says beside its path.
#[derive(Debug, Default)]
pub struct Asked {
    /// Behind the `?`, as it came.
    pub query: String,
    pub body: Bytes,
}

/// What became of it.
#[derive(Debug)]
pub struct Done {
    pub status: StatusCode,
    /// For a person, ending in a new line.
    pub text: String,
}

impl Action {
    /// `run` is called for each request that may change something.
    pub fn new<F: Future<Output = Done> + Send + 'static>(
        path: &'static str,
        run: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Action {
        Action { path, run: Arc::new(move |asked| Box::pin(run(asked))) }
    }

    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Adds its route.
    pub(super) fn route(self, router: Router, door: Door, tasks: Tasks) -> Router {
        let path = self.path;
        router.route(
            path,
            any(async move |request: Request| match admitted(request, &door).await {
                Ok(asked) => self.carry_out(asked, &tasks).await.into_response(),
                Err(refusal) => refusal,
            }),
        )
    }

    async fn carry_out(&self, asked: Asked, tasks: &Tasks) -> Done {
        let (tell, told) = oneshot::channel();
        let work = (self.run)(asked);
        tasks.spawn("admin action", async move {
            // A peer that is gone is not waited for, and the change is made.
            let _ = tell.send(work.await);
        });
        let failed = |_| Done {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: "it failed, by a fault of ours; see the log\n".to_owned(),
        };
        told.await.unwrap_or_else(failed)
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        (self.status, self.text).into_response()
    }
}

async fn admitted(request: Request, door: &Door) -> Result<Asked, Response> {
    let (parts, body) = request.into_parts();
    let Peer(peer) = *parts.extensions.get().expect("every connection says whose it is");
    door.admit(&parts.method, &parts.headers, peer).map_err(|refusal| {
        let said = (refusal.status, format!("{}\n", refusal.why));
        match refusal.status {
            StatusCode::METHOD_NOT_ALLOWED => (said.0, [(header::ALLOW, "POST")], said.1).into_response(),
            StatusCode::UNAUTHORIZED => (said.0, [(header::WWW_AUTHENTICATE, "Bearer")], said.1).into_response(),
            _ => said.into_response(),
        }
    })?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Ok(Asked { query, body: read(body).await.map_err(IntoResponse::into_response)? })
}

async fn read(body: Body) -> Result<Bytes, (StatusCode, String)> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a body of more than {BODY_BYTES_MAX} bytes\n")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body could not be read: {error}\n"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n".to_owned())),
    }
}
