//! Requests over TLS, and what goes wrong with them.

use super::{Panel, TOKEN, USER, fault::Fault, form::Form, function, function::Reply};
use rustls::ServerConfig;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const PAGE: &str = "<!DOCTYPE html><html><body>Sorry</body></html>";
const EXCEPTION: &str = r#"{"metadata":{"version":1,"result":0,"reason":"The request failed. (Error ID: abc123) Ask your hosting provider to research this error and its cause."}}"#;

pub(super) async fn serve(listener: TcpListener, config: Arc<ServerConfig>, panel: Arc<Panel>) {
    let acceptor = TlsAcceptor::from(config);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, panel) = (acceptor.clone(), Arc::clone(&panel));
        connections.spawn(async move { drop(connection(stream, acceptor, panel).await) });
        while connections.try_join_next().is_some() {}
    }
}

struct Request {
    function: String,
    form: Form,
    authorization: String,
    closes: bool,
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, panel: Arc<Panel>) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    loop {
        let Some(request) = read(&mut stream, &panel).await? else { return Ok(()) };
        let fault = begin(&panel, &request.function);
        let closes = request.closes;
        let done = answer(&mut stream, request, fault, &panel).await;
        panel.state().under_way -= 1;
        if !done? || closes {
            return stream.shutdown().await;
        }
    }
}

fn begin(panel: &Panel, function: &str) -> Option<Fault> {
    let mut state = panel.state();
    state.calls.push(function.to_owned());
    state.under_way += 1;
    state.most_under_way = state.most_under_way.max(state.under_way);
    let at = state.faults.iter().position(|(of, _)| of == function)?;
    state.faults.remove(at).map(|(_, fault)| fault)
}

async fn read(stream: &mut TlsStream<TcpStream>, panel: &Panel) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let line = head.lines().next().unwrap_or_default();
    panel.state().requests_seen.push(line.to_owned());
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = vec![0; header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request {
        function: path.strip_prefix("/json-api/").unwrap_or_default().to_owned(),
        form: Form::parse(&format!("{query}&{body}")),
        authorization: header("authorization").unwrap_or_default(),
        closes: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

/// Whether the connection can go on.
async fn answer(
    stream: &mut TlsStream<TcpStream>,
    request: Request,
    fault: Option<Fault>,
    panel: &Arc<Panel>,
) -> io::Result<bool> {
    if request.authorization != format!("whm {USER}:{TOKEN}") {
        return write(stream, &function::unauthorised()).await.map(|()| true);
    }
    match fault {
        Some(Fault::LostBefore) => return Ok(false),
        Some(Fault::ErrorPage) => return page(stream, "500 Internal Server Error", PAGE).await,
        Some(Fault::Page) => return page(stream, "200 OK", PAGE).await,
        Some(Fault::LoginPage) => return page(stream, "401 Unauthorized", PAGE).await,
        Some(Fault::Exception) => return page(stream, "200 OK", EXCEPTION).await,
        Some(Fault::TooMany) => return page(stream, "429 Too Many Requests", "").await,
        Some(Fault::Deep) => return page(stream, "200 OK", &"[".repeat(100_000)).await,
        Some(Fault::Redirect) => {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
                .await?;
            return Ok(true);
        }
        Some(Fault::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 65536]).await?;
            }
        }
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let panel = Arc::clone(panel);
    let run = move || function::run(&panel, &request.function, &request.form, fault);
    let reply = tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?;
    match fault {
        Some(Fault::LostAfter) => Ok(false),
        Some(Fault::ErrorPageAfter) => page(stream, "500 Internal Server Error", PAGE).await,
        Some(Fault::ExceptionAfter) => page(stream, "200 OK", EXCEPTION).await,
        Some(Fault::Truncated) => {
            let whole = text(&reply);
            stream.write_all(&whole.as_bytes()[..whole.len() - reply.body.len() / 2]).await?;
            Ok(false)
        }
        Some(Fault::Drip) => {
            for byte in text(&reply).bytes() {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(true)
        }
        Some(Fault::SlowAnswer(time)) => {
            tokio::time::sleep(time).await;
            write(stream, &reply).await.map(|()| true)
        }
        _ => write(stream, &reply).await.map(|()| true),
    }
}

async fn page(stream: &mut TlsStream<TcpStream>, status: &'static str, body: &str) -> io::Result<bool> {
    write(stream, &Reply { status, body: body.to_owned() }).await.map(|()| true)
}

async fn write(stream: &mut TlsStream<TcpStream>, reply: &Reply) -> io::Result<()> {
    stream.write_all(text(reply).as_bytes()).await?;
    stream.flush().await
}

/// Older servers call JSON `text/plain`.
fn text(reply: &Reply) -> String {
    let (status, body) = (reply.status, &reply.body);
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
